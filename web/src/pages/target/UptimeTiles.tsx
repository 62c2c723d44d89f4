/** Uptime over five windows; each says how much of it was measured, when that is not all of it. */

import { useSummary } from "@/api/history";
import type { WindowName, WindowSummary } from "@/api/types";
import { Failed, Loading } from "@/parts/States";
import { counted, latency, percent } from "@/words/numbers";
import { duration } from "@/words/time";
import { coverageOf } from "./coverage";
import styles from "./UptimeTiles.module.css";

const TILES: readonly { name: WindowName; words: string; days: number }[] = [
  { name: "24h", words: "24 hours", days: 1 },
  { name: "7d", words: "7 days", days: 7 },
  { name: "30d", words: "30 days", days: 30 },
  { name: "90d", words: "90 days", days: 90 },
  { name: "365d", words: "1 year", days: 365 },
];

const DAY_MS = 86_400_000;

export function UptimeTiles({ id }: { id: number }) {
  const { data, error, isPending, refetch } = useSummary(id);
  if (isPending) return <Loading rows={1} label="Loading uptime" />;
  if (data === undefined) return <Failed error={error} what="uptime" retry={() => void refetch()} />;
  return (
    <dl className={styles.tiles} aria-label="Uptime">
      {TILES.map(({ name, words, days }) => (
        <Tile key={name} words={words} windowMs={days * DAY_MS} window={data.windows[name]} />
      ))}
    </dl>
  );
}

interface TileProps {
  words: string;
  windowMs: number;
  window: WindowSummary | undefined;
}

function Tile({ words, windowMs, window }: TileProps) {
  if (window === undefined) return null;
  const { uptime, outages, down_s, p95_ms } = window;
  const coverage = coverageOf(window, windowMs);
  return (
    <div
      className={styles.tile}
      data-coverage={coverage.extent}
      data-calm={outages === 0 || undefined}
      data-tip={measured(window)}
    >
      <dt>{words}</dt>
      <dd className={uptime === null ? styles.none : styles.uptime}>{percent(uptime)}</dd>
      <dd className={`${styles.aside ?? ""} ${styles.of ?? ""}`}>{coverage.words}</dd>
      <dd className={`${styles.aside ?? ""} ${styles.outages ?? ""}`}>
        {outages > 0
          ? `${counted(outages, "outage")}, ${duration(down_s * 1_000)}`
          : uptime === null
            ? "not measured"
            : "no outage"}
      </dd>
      <dd className={`${styles.aside ?? ""} ${styles.p95 ?? ""}`}>
        {p95_ms === null ? "" : `p95 ${latency(p95_ms)}`}
      </dd>
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
