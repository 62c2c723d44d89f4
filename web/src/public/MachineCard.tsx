/** One machine, with whatever of it was chosen to be shown. */

import { memo, type ReactNode } from "react";
import { Meter } from "@/parts/Meter";
import { Sign } from "@/parts/Sign";
import { Ago } from "@/parts/Time";
import { useNow } from "@/words/clock";
import { celsius, flow, hoursLeft, plain } from "@/words/measures";
import { duration } from "@/words/time";
import { VERDICT_WORD } from "@/words/verdicts";
import styles from "./MachineCard.module.css";
import type { Current, Machine } from "./picture";
import { StandWords } from "./StandWords";
import { nameOf } from "./standing";

/** A machine that reports at all does so more often than this. */
const SILENT_MS = 180_000;

const METERS: readonly { field: "cpu" | "memory" | "swap" | "disk"; word: string; name: string }[] = [
  { field: "cpu", word: "CPU", name: "CPU" },
  { field: "memory", word: "Memory", name: "Memory" },
  { field: "swap", word: "Swap", name: "Swap" },
  { field: "disk", word: "Disk", name: "Fullest disk" },
];

interface Props {
  machine: Machine;
  /** Nobody vouches for it any more. */
  isOld: boolean;
}

export const MachineCard = memo(function MachineCard({ machine, isOld }: Props) {
  const { verdict, since, reason, last_seen } = machine;
  const current = machine.current ?? {};
  const now = useNow();
  const old =
    isOld || (last_seen !== undefined && last_seen !== null && now - Date.parse(last_seen) > SILENT_MS);
  const meters = METERS.filter(({ field }) => current[field] !== undefined);
  const numbers = numbersOf(current);
  return (
    <article
      className={styles.card}
      data-sign={verdict}
      data-old={old || undefined}
      data-past={isOld || undefined}
      aria-label={nameOf(machine)}
    >
      <div className={styles.head}>
        {verdict !== undefined && (
          <span key={verdict} className={`${styles.sign ?? ""} arrives`}>
            <Sign of={verdict} size={14} />
          </span>
        )}
        <h2 className={styles.name}>{nameOf(machine)}</h2>
        {last_seen !== undefined && (
          <span className={styles.seen}>{last_seen === null ? "never seen" : <Ago at={last_seen} />}</span>
        )}
      </div>
      {verdict !== undefined && (
        <p className={styles.stand}>
          <StandWords word={VERDICT_WORD[verdict]} since={since} reason={reason} isOld={isOld} />
        </p>
      )}
      {meters.length > 0 && (
        <div className={styles.meters}>
          {meters.map(({ field, word, name }) => (
            <Measured key={field} word={word}>
              <Meter name={name} value={current[field] ?? null} band={null} old={old} />
            </Measured>
          ))}
        </div>
      )}
      {numbers.length > 0 && <p className={styles.numbers}>{numbers}</p>}
    </article>
  );
});

function Measured({ word, children }: { word: string; children: ReactNode }) {
  return (
    <>
      <span className={styles.word}>{word}</span>
      {children}
    </>
  );
}

function numbersOf(current: Current): ReactNode[] {
  const { load_1m, network_in, network_out, disk_read, disk_write } = current;
  const { temperature, processes, uptime_s, disk_full_in_h } = current;
  const found: ReactNode[] = [];
  if (load_1m !== undefined) {
    found.push(
      <span key="load" data-tip={loads(current)}>
        load {plain(load_1m)}
      </span>,
    );
  }
  if (network_in !== undefined || network_out !== undefined) {
    found.push(
      <Both
        key="network"
        what={<span className="away">network </span>}
        into={network_in}
        out={network_out}
      />,
    );
  }
  if (disk_read !== undefined || disk_write !== undefined) {
    found.push(<Both key="disks" what="disks " into={disk_write} out={disk_read} />);
  }
  if (temperature !== undefined && temperature !== null)
    found.push(<span key="heat">{celsius(temperature)}</span>);
  if (processes !== undefined) found.push(<span key="processes">{plain(processes)} processes</span>);
  if (uptime_s !== undefined && uptime_s !== null) {
    found.push(<span key="uptime">running {duration(uptime_s * 1_000)}</span>);
  }
  if (disk_full_in_h !== undefined && disk_full_in_h !== null) {
    found.push(<span key="full">disk full in {hoursLeft(disk_full_in_h)}</span>);
  }
  return found;
}

function Both(props: { what: ReactNode; into: number | null | undefined; out: number | null | undefined }) {
  return (
    <span>
      {props.what}
      <span aria-hidden>↓</span>
      <span className="away">in</span> {flow(props.into)} <span aria-hidden>↑</span>
      <span className="away">out</span> {flow(props.out)}
    </span>
  );
}

function loads({ load_1m, load_5m, load_15m }: Current): string {
  return `1 min ${plain(load_1m)}\n5 min ${plain(load_5m)}\n15 min ${plain(load_15m)}`;
}
