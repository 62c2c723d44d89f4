/** One chart: what is drawn, its numbers under the cursor, and the same as a table. Asks only while it is near. */

import { ActionIcon, SegmentedControl } from "@mantine/core";
import { useIntersection } from "@mantine/hooks";
import { useMemo, useState } from "react";
import { useSeries } from "@/api/machines";
import type { Machine, SeriesAnswer } from "@/api/machineTypes";
import type { Deployment } from "@/api/types";
import { highest, withGaps } from "@/parts/chart/frame";
import { LineChart } from "@/parts/chart/LineChart";
import type { Stretch } from "@/parts/chart/marks";
import type { Mark } from "@/parts/deployments/marks";
import { Icon } from "@/parts/Icon";
import { Panel } from "@/parts/Panel";
import { Failed, Loading, Stale } from "@/parts/States";
import type { Sight } from "@/parts/windows";
import { clock } from "@/words/clock";
import { tally } from "@/words/deployments";
import { moment } from "@/words/time";
import styles from "./ChartPanel.module.css";
import { ChartTable } from "./ChartTable";
import { Readout } from "./Readout";
import type { ChartSpec, ChartView } from "./specs";
import { stepFor } from "./step";

interface Props {
  chart: ChartSpec;
  machine: Machine;
  sight: Sight;
  spanMs: number;
  stretches: readonly Stretch[];
  marks: readonly Mark[];
  zoom: (fromMs: number, toMs: number) => void;
  reset: () => void;
}

const HEIGHT = 192;
/** More cannot be told apart; all are in the table. */
const MOST_LINES = 8;
const GROUP = "machine";
const TAIL_AT_MOST_MS = 60_000;

export function ChartPanel({ chart, machine, sight, spanMs, stretches, marks, zoom, reset }: Props) {
  const [chosen, setChosen] = useState(chart.views[0]?.id ?? "");
  const [table, setTable] = useState(false);
  const view = chart.views.find((each) => each.id === chosen) ?? chart.views[0];
  const { ref, entry } = useIntersection({ rootMargin: "400px 0px" });
  const stepS = stepFor(spanMs, machine.every_s);
  const live = sight.window !== null;
  const query = useSeries(machine.id, {
    names: view?.names ?? [],
    named: sight.named,
    rangeNow: () => sight.rangeAt(clock.now()),
    stepS,
    tailEveryMs: live ? Math.min(TAIL_AT_MOST_MS, Math.max(machine.every_s, stepS) * 1_000) : null,
    enabled: view !== undefined && entry?.isIntersecting === true,
  });
  const { data, error, refetch } = query;
  if (view === undefined) return null;

  return (
    <div ref={ref} className={styles.place} data-chart={chart.id}>
      <Panel
        title={chart.title}
        aside={
          <div className={styles.tools}>
            {chart.views.length > 1 && (
              <SegmentedControl
                size="xs"
                aria-label={`${chart.title}: what is drawn`}
                value={view.id}
                onChange={setChosen}
                data={chart.views.map(({ id, words }) => ({ value: id, label: words }))}
              />
            )}
            <ActionIcon
              size={28}
              variant={table ? "light" : "subtle"}
              color={table ? "bell" : "gray"}
              aria-label={`${chart.title} as a table`}
              aria-pressed={table}
              data-tip={table ? "Show the chart" : "Show as a table"}
              onClick={() => setTable(!table)}
            >
              <Icon name="table" />
            </ActionIcon>
          </div>
        }
      >
        <div className={styles.body}>
          {data !== undefined ? (
            <>
              {error !== null && <Stale error={error} />}
              <Drawing
                chart={chart}
                view={view}
                machine={machine}
                answer={data}
                table={table}
                stretches={stretches}
                marks={marks}
                zoom={zoom}
                reset={reset}
              />
            </>
          ) : error !== null ? (
            <Failed error={error} what={chart.title} retry={() => void refetch()} />
          ) : (
            <Loading rows={5} label={`Loading ${chart.title}`} />
          )}
        </div>
      </Panel>
    </div>
  );
}

interface DrawingProps {
  chart: ChartSpec;
  view: ChartView;
  machine: Machine;
  answer: SeriesAnswer;
  table: boolean;
  stretches: readonly Stretch[];
  marks: readonly Mark[];
  zoom: (fromMs: number, toMs: number) => void;
  reset: () => void;
}

function Drawing({ chart, view, machine, answer, table, stretches, marks, zoom, reset }: DrawingProps) {
  const [at, setAt] = useState<number | null>(null);
  const [near, setNear] = useState<readonly Deployment[]>([]);
  const all = useMemo(() => view.lines(answer), [view, answer]);
  const frame = useMemo(
    () => withGaps(answer.at, answer.step_s, view.stacked === true ? all : highest(all, MOST_LINES)),
    [answer.at, answer.step_s, all, view.stacked],
  );
  const current = useMemo(
    () => ({
      range: { fromS: Date.parse(answer.from) / 1_000, toS: Date.parse(answer.to) / 1_000 },
      stretches,
      deployments: marks,
      levels: view.levels?.(machine) ?? [],
      top: view.top?.(machine) ?? null,
    }),
    [answer.from, answer.to, stretches, marks, view, machine],
  );
  const label = described(chart, answer, all.length, marks);
  if (table) return <ChartTable answer={answer} lines={all} unit={view.unit} label={label} />;
  return (
    <figure>
      <Readout
        frame={frame}
        unit={view.unit}
        envelope={view.stacked !== true}
        at={at}
        left={all.length - frame.lines.length + answer.left_out}
        stepS={answer.step_s}
        marks={marks}
        near={near}
      />
      <LineChart
        frame={frame}
        stacked={view.stacked === true}
        unit={view.unit}
        ceiling={view.ceiling ?? null}
        current={current}
        label={label}
        height={HEIGHT}
        group={GROUP}
        onZoom={zoom}
        onReset={reset}
        onCursor={setAt}
        onNear={setNear}
      />
    </figure>
  );
}

function described(
  { title }: ChartSpec,
  { from, to }: SeriesAnswer,
  lines: number,
  marks: readonly Mark[],
): string {
  const now = clock.now();
  const deployments =
    marks.length === 0
      ? ""
      : ` ${tally(marks.map(({ deployment }) => deployment))}, listed below the charts.`;
  return (
    `${title} from ${moment(Date.parse(from), now)} to ${moment(Date.parse(to), now)}, ${lines} ` +
    `${lines === 1 ? "line" : "lines"}.${deployments} The same as a table: button ${title} as a table.`
  );
}
