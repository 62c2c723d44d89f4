/** Waits, visibly, until the machine that was given this key is heard for the first time. */

import { Button } from "@mantine/core";
import { useState } from "react";
import { Link } from "wouter";
import { useMachines } from "@/api/machines";
import { Sign } from "@/parts/Sign";
import { share } from "@/words/measures";
import { useNow } from "@/words/clock";
import { duration } from "@/words/time";
import styles from "./AddMachine.module.css";

const ASK_EVERY_MS = 2_000;
/** Longer than a start and a first sample take. */
const LONG_MS = 45_000;

interface Props {
  keyId: number;
  /** Where it is to report to. */
  aggregator: string;
  another: () => void;
}

export function Arrival({ keyId, aggregator, another }: Props) {
  const { data: machines } = useMachines(ASK_EVERY_MS);
  const now = useNow();
  const [began] = useState(now);
  const here = machines?.find((machine) => machine.key?.id === keyId);
  if (here !== undefined) {
    return (
      <section className={`${styles.arrival ?? ""} arrives`} data-here role="status" aria-label="It is here">
        <span className={styles.here}>
          <Sign of="up" size={14} />
        </span>
        <div className={styles.words}>
          <p className={styles.title}>{here.name} is here</p>
          <p className="muted">
            {here.current.cpu === null
              ? "Its first numbers have arrived."
              : `Its processor is at ${share(here.current.cpu)}, its memory at ${share(here.current.memory)}.`}
          </p>
          <div className={styles.actions}>
            <Button component={Link} href={`/machines/${here.id}`} size="xs">
              Open it
            </Button>
            <Button variant="default" size="xs" onClick={another}>
              Add another
            </Button>
          </div>
        </div>
      </section>
    );
  }
  const waited = now - began;
  return (
    <section className={styles.arrival} aria-label="Waiting for the machine">
      <span className={styles.wait}>
        <Sign of="unknown" size={14} />
      </span>
      <div className={styles.words}>
        <p className={styles.title}>Waiting for its first numbers, {duration(waited)}</p>
        {waited < LONG_MS ? (
          <p className="muted">It appears here by itself, within seconds of the command's start.</p>
        ) : (
          <ul className={`${styles.hints ?? ""} muted`}>
            <li>The collector says in its first line what it can reach and what not.</li>
            <li>
              The machine must reach {aggregator}; a firewall may be between. Tocsin itself listens on
              127.0.0.1 unless TOCSIN_HOST says otherwise.
            </li>
            <li>You may leave this page: the machine appears whenever it is heard.</li>
          </ul>
        )}
      </div>
    </section>
  );
}
