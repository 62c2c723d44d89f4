/** The numbers of this moment, each with the verdict of its rule. */

import type { ReactNode } from "react";
import type { Machine, RuleName } from "@/api/machineTypes";
import { Meter } from "@/parts/Meter";
import { Sign } from "@/parts/Sign";
import { useNow } from "@/words/clock";
import { capacity, celsius, flow, hoursLeft, plain, share } from "@/words/measures";
import { count } from "@/words/numbers";
import { wordOf } from "@/words/rules";
import { isSilent } from "../machines/silence";
import styles from "./Now.module.css";

export function Now({ machine }: { machine: Machine }) {
  const { current, bands } = machine;
  const old = isSilent(machine, useNow());
  const used = (of: number | null, whole: number | null) =>
    of === null || whole === null ? null : of * whole;
  return (
    <section className={styles.tiles} aria-label="Now" data-old={old || undefined}>
      <Tile machine={machine} name="CPU" rule="cpu" aside={`load ${plain(current.load_1m)}`}>
        <Meter name="CPU" value={current.cpu} band={bands.cpu} old={old} />
      </Tile>
      <Tile
        machine={machine}
        name="Memory"
        rule="memory"
        aside={`${capacity(used(current.memory, current.memory_bytes))} of ${capacity(current.memory_bytes)}`}
      >
        <Meter name="Memory" value={current.memory} band={bands.memory} old={old} />
      </Tile>
      <Tile
        machine={machine}
        name="Disk"
        rule="disk"
        aside={`${current.disk_mount ?? ""}${current.disk_full_in_h === null ? "" : ` full in ${hoursLeft(current.disk_full_in_h)}`}`}
      >
        <Meter name="Fullest disk" value={current.disk} band={bands.disk} old={old} />
      </Tile>
      <Tile machine={machine} name="Network">
        <Pair
          first={["↓", "received", flow(current.network_in)]}
          second={["↑", "sent", flow(current.network_out)]}
        />
      </Tile>
      <Tile machine={machine} name="Disk I/O">
        <Pair
          first={["R", "read", flow(current.disk_read)]}
          second={["W", "written", flow(current.disk_write)]}
        />
      </Tile>
      <Tile machine={machine} name="Others">
        <span className={styles.others}>
          {current.processes !== null && <span>{count(current.processes)} processes</span>}
          {current.swap !== null && <span>swap {share(current.swap)}</span>}
          {current.temperature !== null && <span>{celsius(current.temperature)}</span>}
        </span>
      </Tile>
    </section>
  );
}

interface TileProps {
  machine: Machine;
  name: string;
  rule?: RuleName;
  aside?: string;
  children: ReactNode;
}

function Tile({ machine, name, rule, aside = "", children }: TileProps) {
  const judged = machine.rules.find((each) => each.rule === rule);
  const trouble = judged !== undefined && judged.verdict !== "up" ? judged : null;
  return (
    <div className={styles.tile}>
      <p className={styles.name}>
        {trouble !== null && <Sign of={trouble.verdict} size={10} />} {name}
        {trouble !== null && <span className={styles.word}>{wordOf(trouble.rule, trouble.verdict)}</span>}
      </p>
      <div className={styles.value}>{children}</div>
      <p className={styles.aside} data-tip={aside}>
        {aside}
      </p>
    </div>
  );
}

type Flow = readonly [sign: string, word: string, value: string];

function Pair({ first, second }: { first: Flow; second: Flow }) {
  return (
    <span className={styles.pair}>
      {[first, second].map(([sign, word, value]) => (
        <span key={word}>
          <span aria-hidden>{sign}</span> <span className="away">{word}</span> {value}
        </span>
      ))}
    </span>
  );
}
