/** Uptime over five windows; a window nobody measured says so. */

import { useSummary } from "@/api/history";
import type { WindowName, WindowSummary } from "@/api/types";
import { Failed, Loading } from "@/parts/States";
import { counted, latency, percent } from "@/words/numbers";
import { duration } from "@/words/time";
import styles from "./UptimeTiles.module.css";

const TILES: readonly { name: WindowName; words: string }[] = [
  { name: "24h", words: "24 hours" },
  { name: "7d", words: "7 days" },
  { name: "30d", words: "30 days" },
  { name: "90d", words: "90 days" },
  { name: "365d", words: "1 year" },
];

export function UptimeTiles({ id }: { id: number }) {
  const { data, error, isPending, refetch } = useSummary(id);
  if (isPending) return <Loading rows={1} label="Loading uptime" />;
  if (data === undefined) return <Failed error={error} what="uptime" retry={() => void refetch()} />;
  return (
    <dl className={styles.tiles} aria-label="Uptime">
      {TILES.map(({ name, words }) => (
        <Tile key={name} words={words} window={data.windows[name]} />
      ))}
    </dl>
  );
}

function Tile({ words, window }: { words: string; window: WindowSummary | undefined }) {
  if (window === undefined) return null;
  const { uptime, outages, down_s, p95_ms } = window;
  return (
    <div className={styles.tile} data-tip={measured(window)}>
      <dt>{words}</dt>
      <dd className={uptime === null ? styles.none : styles.uptime}>{percent(uptime)}</dd>
      <dd className={styles.aside}>
        {outages > 0
          ? `${counted(outages, "outage")}, ${duration(down_s * 1_000)}`
          : uptime === null
            ? " "
            : "no outage"}
      </dd>
      <dd className={styles.aside}>{p95_ms === null ? " " : `p95 ${latency(p95_ms)}`}</dd>
    </div>
  );
}

/** What the percentage is of. */
function measured({
  up_s,
  degraded_s,
  down_s,
  unknown_s,
  maintenance_s,
  checks,
  failed,
}: WindowSummary): string {
  const parts = [
    `up ${duration(up_s * 1_000)}`,
    degraded_s > 0 ? `degraded ${duration(degraded_s * 1_000)}` : "",
    down_s > 0 ? `down ${duration(down_s * 1_000)}` : "",
    unknown_s > 0 ? `not measured ${duration(unknown_s * 1_000)}, not counted` : "",
    maintenance_s > 0 ? `maintenance ${duration(maintenance_s * 1_000)}, not counted` : "",
    `${counted(checks, "check")}, ${failed} failed`,
  ];
  return parts.filter((part) => part !== "").join("\n");
}
