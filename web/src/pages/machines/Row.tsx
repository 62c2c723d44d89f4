/** One machine in one line: state, who, how full it is, what flows, when last heard of. */

import { memo } from "react";
import { Link } from "wouter";
import type { Machine } from "@/api/machineTypes";
import { Meter } from "@/parts/Meter";
import { Sign } from "@/parts/Sign";
import { Spark } from "@/parts/Spark";
import { Ago } from "@/parts/Time";
import { flow, plain } from "@/words/measures";
import { VERDICT_WORD } from "@/words/verdicts";
import { Detail } from "./Detail";
import styles from "./Row.module.css";
import { diskTip, loadTip, useSilence } from "./facts";

export const Row = memo(function Row({ machine }: { machine: Machine }) {
  const { id, name, verdict, current, bands, last_seen, spark } = machine;
  const silent = useSilence(machine);
  return (
    <div role="presentation" className={styles.row} data-sign={verdict} data-silent={silent || undefined}>
      <span role="cell" key={verdict} className={`${styles.sign ?? ""} arrives`}>
        <Sign of={verdict} label={VERDICT_WORD[verdict]} />
      </span>
      <span role="cell" className={styles.who}>
        <Link href={`/machines/${id}`} className={styles.name}>
          {name}
        </Link>
        <span className={styles.detail}>
          <Detail machine={machine} />
        </span>
      </span>
      <span role="cell" className={styles.cpu} data-label="CPU">
        <Meter name="CPU" value={current.cpu} band={bands.cpu} old={silent} />
      </span>
      <span role="cell" className={styles.spark}>
        {spark !== undefined && spark !== null && (
          <Spark values={spark} height={22} label="CPU, last 30 minutes" />
        )}
      </span>
      <span role="cell" className={styles.memory} data-label="Memory">
        <Meter name="Memory" value={current.memory} band={bands.memory} old={silent} />
      </span>
      <span role="cell" className={styles.disk} data-label="Disk">
        <Meter
          name="Fullest disk"
          value={current.disk}
          band={bands.disk}
          old={silent}
          tip={diskTip(current)}
        />
      </span>
      <span role="cell" className={styles.load} data-tip={loadTip(current)}>
        {plain(current.load_1m)}
      </span>
      <span role="cell" className={styles.network}>
        <span>
          <span className="away">received </span>
          <span aria-hidden>↓</span> {flow(current.network_in)}
        </span>
        <span>
          <span className="away">, sent </span>
          <span aria-hidden>↑</span> {flow(current.network_out)}
        </span>
      </span>
      <span role="cell" className={styles.seen}>
        {last_seen === null ? "never" : <Ago at={last_seen} />}
      </span>
    </div>
  );
});
