/** One machine as a card. */

import { memo } from "react";
import { Link } from "wouter";
import type { Machine } from "@/api/machineTypes";
import { Meter } from "@/parts/Meter";
import { Sign } from "@/parts/Sign";
import { Spark } from "@/parts/Spark";
import { Ago } from "@/parts/Time";
import { flow, plain } from "@/words/measures";
import { VERDICT_WORD } from "@/words/verdicts";
import styles from "./Card.module.css";
import { Detail } from "./Detail";
import { diskTip, loadTip, useSilence } from "./facts";

export const Card = memo(function Card({ machine }: { machine: Machine }) {
  const { id, name, verdict, current, bands, last_seen, spark } = machine;
  const silent = useSilence(machine);
  return (
    <div className={styles.card} data-sign={verdict} data-silent={silent || undefined}>
      <div className={styles.head}>
        <span key={verdict} className={`${styles.sign ?? ""} arrives`}>
          <Sign of={verdict} size={14} label={VERDICT_WORD[verdict]} />
        </span>
        <Link href={`/machines/${id}`} className={styles.name}>
          {name}
        </Link>
        <span className={styles.seen}>{last_seen === null ? "never seen" : <Ago at={last_seen} />}</span>
      </div>
      <p className={styles.detail}>
        <Detail machine={machine} />
      </p>
      <div className={styles.spark}>
        {spark !== undefined && spark !== null && (
          <Spark values={spark} height={32} label="CPU, last 30 minutes" />
        )}
      </div>
      <div className={styles.meters}>
        <span>CPU</span>
        <Meter name="CPU" value={current.cpu} band={bands.cpu} old={silent} />
        <span>Memory</span>
        <Meter name="Memory" value={current.memory} band={bands.memory} old={silent} />
        <span>Disk</span>
        <Meter
          name="Fullest disk"
          value={current.disk}
          band={bands.disk}
          old={silent}
          tip={diskTip(current)}
        />
      </div>
      <p className={styles.flows}>
        <span data-tip={loadTip(current)}>load {plain(current.load_1m)}</span>
        <span>
          <span className="away">received </span>
          <span aria-hidden>↓</span> {flow(current.network_in)}
        </span>
        <span>
          <span className="away">sent </span>
          <span aria-hidden>↑</span> {flow(current.network_out)}
        </span>
      </p>
    </div>
  );
});
