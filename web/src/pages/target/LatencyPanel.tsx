/** Latency over a window: percentiles or phases, zoomed by dragging, with a table behind. */

import { ActionIcon, Button, SegmentedControl } from "@mantine/core";
import { useMemo, useState } from "react";
import { useSearchParams } from "wouter";
import { useDeployments } from "@/api/deployments";
import { useLatency, useTransitionsIn } from "@/api/history";
import type { Deployment, Latency } from "@/api/types";
import type { Stretch } from "@/parts/chart/marks";
import { stretchesOf } from "@/parts/chart/stretches";
import { Unmarked } from "@/parts/chart/Unmarked";
import { Deployments } from "@/parts/deployments/Deployments";
import { marksOf, type Mark } from "@/parts/deployments/marks";
import { Near } from "@/parts/deployments/Near";
import { Icon } from "@/parts/Icon";
import { Panel } from "@/parts/Panel";
import { Empty, Failed, Loading, Stale } from "@/parts/States";
import { clock } from "@/words/clock";
import { tally } from "@/words/deployments";
import { counted, latency as latencyWords } from "@/words/numbers";
import { moment } from "@/words/time";
import { gridOf } from "./chart/grid";
import { LatencyChart } from "./chart/LatencyChart";
import type { Mode } from "./chart/plot";
import { LatencyTable } from "./LatencyTable";
import styles from "./LatencyPanel.module.css";
import { Readout } from "./Readout";
import { defaultWindow, sightFrom, WINDOWS, withWindow, withZoom } from "@/parts/windows";

interface Props {
  id: number;
  createdAt: string;
  /** How far apart its checks are. */
  intervalS: number;
}

export default function LatencyPanel({ id, createdAt, intervalS }: Props) {
  const [parameters, setParameters] = useSearchParams();
  // Chosen once: the page must not change its window while somebody looks at it.
  const [fallback] = useState(() => defaultWindow(clock.now() - Date.parse(createdAt)));
  const sight = sightFrom(parameters, fallback, {
    bornMs: Date.parse(createdAt),
    intervalMs: intervalS * 1_000,
  });
  const inSight = {
    named: sight.named,
    rangeNow: () => sight.rangeAt(clock.now()),
    endsNow: sight.window !== null,
  };
  const { data, error, isPending, refetch } = useLatency(id, { ...inSight, stepS: intervalS });
  const transitions = useTransitionsIn(id, inSight);
  const deployments = useDeployments("target", id, inSight);
  const stretches = useMemo(() => stretchesOf(transitions.data?.items ?? []), [transitions.data]);
  const marks = useMemo(() => marksOf(deployments.data?.items ?? []), [deployments.data]);
  const [mode, setMode] = useState<Mode>("percentiles");
  const [table, setTable] = useState(false);

  const choose = (name: string) => setParameters(withWindow(parameters, name));
  const zoom = (fromMs: number, toMs: number) => setParameters(withZoom(parameters, fromMs, toMs));
  const zoomed = sight.window === null;
  const reset = () => {
    if (zoomed) choose(parameters.get("window") ?? "");
  };

  return (
    <Panel
      title="Latency"
      aside={
        <div className={styles.tools}>
          <SegmentedControl
            size="xs"
            aria-label="What is drawn"
            value={mode}
            onChange={(value) => setMode(value)}
            data={[
              { value: "percentiles", label: "Percentiles" },
              { value: "phases", label: "Phases" },
            ]}
          />
          <SegmentedControl
            className={styles.windows ?? ""}
            size="xs"
            aria-label="Time window"
            value={sight.window?.name ?? ""}
            onChange={choose}
            data={WINDOWS.map((window) => ({ value: window.name, label: window.words }))}
          />
          {zoomed && (
            <Button className={styles.reset ?? ""} size="compact-sm" variant="light" onClick={reset}>
              Reset zoom
            </Button>
          )}
          <ActionIcon
            className={styles.table ?? ""}
            variant={table ? "light" : "subtle"}
            color={table ? "bell" : "gray"}
            aria-label="Show as a table"
            aria-pressed={table}
            data-tip={table ? "Show the chart" : "Show as a table"}
            onClick={() => setTable(!table)}
          >
            <Icon name="table" />
          </ActionIcon>
        </div>
      }
    >
      {isPending ? (
        <Loading rows={6} label="Loading the latency" />
      ) : data === undefined ? (
        <Failed error={error} what="the latency" retry={() => void refetch()} />
      ) : data.points.length === 0 ? (
        <Empty title="No check in this window">Choose a longer one, or wait for the next check.</Empty>
      ) : (
        <>
          {error !== null ? (
            <Stale error={error} />
          ) : (
            <Unmarked transitions={transitions} deployments={deployments} />
          )}
          {table ? (
            <LatencyTable latency={data} />
          ) : (
            <Drawing
              latency={data}
              mode={mode}
              stretches={stretches}
              marks={marks}
              whole={sight.window !== null && spanOf(data) < sight.window.ms}
              zoom={zoom}
              reset={reset}
            />
          )}
        </>
      )}
      <Deployments page={deployments.data} />
    </Panel>
  );
}

interface DrawingProps {
  latency: Latency;
  mode: Mode;
  stretches: readonly Stretch[];
  marks: readonly Mark[];
  /** All there is so far, which is less than the window. */
  whole: boolean;
  zoom: (fromMs: number, toMs: number) => void;
  reset: () => void;
}

function Drawing({ latency, mode, stretches, marks, whole, zoom, reset }: DrawingProps) {
  const [at, setAt] = useState<number | null>(null);
  const [near, setNear] = useState<readonly Deployment[]>([]);
  const grid = useMemo(() => gridOf(latency), [latency]);
  const pointed = at === null ? null : (grid.points[at] ?? null);
  return (
    <figure>
      <Readout
        mode={mode}
        measured={latency.points.some((each) => each.max_ms !== null)}
        whole={whole}
        point={pointed}
        at={at === null ? null : (grid.xs[at] ?? null)}
      />
      <Near marks={marks} near={near} />
      <LatencyChart
        latency={latency}
        mode={mode}
        stretches={stretches}
        deployments={marks}
        label={described(latency, marks)}
        onZoom={zoom}
        onReset={reset}
        onCursor={setAt}
        onNear={setNear}
      />
    </figure>
  );
}

/** The server begins at a whole step; a second more or less is no difference. */
function spanOf({ from, to }: Latency): number {
  return Date.parse(to) - Date.parse(from) + 1_000;
}

/** The chart in a sentence, for who cannot see it. */
function described({ from, to, points }: Latency, marks: readonly Mark[]): string {
  const now = clock.now();
  const highest = points.reduce((high, point) => Math.max(high, point.max_ms ?? 0), 0);
  const medians = points
    .flatMap((point) => (point.p50_ms === null ? [] : [point.p50_ms]))
    .sort((a, b) => a - b);
  const middle = medians[Math.floor(medians.length / 2)];
  const checks = points.reduce((sum, point) => sum + point.checks, 0);
  const failed = points.reduce((sum, point) => sum + point.failed, 0);
  return (
    `Latency from ${moment(Date.parse(from), now)} to ${moment(Date.parse(to), now)}: ` +
    `usually ${latencyWords(middle)}, at most ${latencyWords(highest)}; ${counted(checks, "check")}, ${failed} failed. ` +
    (marks.length === 0 ? "" : `${tally(marks.map(({ deployment }) => deployment))}, listed below. `) +
    "The same as a table: button Show as a table."
  );
}
