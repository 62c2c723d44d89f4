/** Every chart of a machine over one window: one cursor and one zoom for all of them. */

import { Button, SegmentedControl } from "@mantine/core";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { useMachineTransitions } from "@/api/machines";
import type { Machine } from "@/api/machineTypes";
import type { Stretch } from "@/parts/chart/marks";
import { Loading } from "@/parts/States";
import { sightFrom, WINDOWS, withWindow, withZoom } from "@/parts/windows";
import { useNow } from "@/words/clock";
import { ChartPanel } from "./charts/ChartPanel";
import { chartsOf } from "./charts/specs";
import { stretchesOf } from "./charts/stretches";
import styles from "./Charts.module.css";

const FALLBACK = "1h";
const OFFERED = WINDOWS.filter((window) => window.name !== "1y");

export default function Charts({ machine, loading }: { machine: Machine; loading: boolean }) {
  const [parameters, setParameters] = useSearchParams();
  const now = useNow();
  const sight = sightFrom(parameters, FALLBACK, { bornMs: 0, intervalMs: machine.every_s * 1_000 });
  const transitions = useMachineTransitions(machine.id);
  const charts = useMemo(() => chartsOf(machine.series ?? []), [machine.series]);
  // A stretch that lasts ends with the drawing, wherever that is.
  const stretches = useMemo<Stretch[]>(
    () => stretchesOf(transitions.data?.pages.flatMap((page) => page.items) ?? []),
    [transitions.data],
  );

  const choose = (name: string) => setParameters(withWindow(parameters, name));
  const zoom = (fromMs: number, toMs: number) => setParameters(withZoom(parameters, fromMs, toMs));
  const zoomed = sight.window === null;
  const reset = () => {
    if (zoomed) choose(parameters.get("window") ?? "");
  };
  const { from, to } = sight.rangeAt(now);

  return (
    <section className={styles.charts} aria-label="Charts">
      <div className={styles.tools}>
        <SegmentedControl
          size="xs"
          aria-label="Time window"
          value={sight.window?.name ?? ""}
          onChange={choose}
          data={OFFERED.map((window) => ({ value: window.name, label: window.words }))}
        />
        {zoomed ? (
          <Button size="compact-sm" variant="light" onClick={reset}>
            Reset zoom
          </Button>
        ) : (
          <span className={styles.hint}>drag on a chart to zoom all of them</span>
        )}
      </div>
      {machine.series === undefined || (loading && charts.length === 0) ? (
        <Loading rows={6} label="Loading the charts" />
      ) : charts.length === 0 ? (
        <p className="muted">It has not sent any numbers yet.</p>
      ) : (
        <div className={styles.grid}>
          {charts.map((chart) => (
            <ChartPanel
              key={chart.id}
              chart={chart}
              machine={machine}
              sight={sight}
              spanMs={Date.parse(to) - Date.parse(from)}
              stretches={stretches}
              zoom={zoom}
              reset={reset}
            />
          ))}
        </div>
      )}
    </section>
  );
}
