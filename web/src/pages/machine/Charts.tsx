/** Every chart of a machine over one window: one cursor and one zoom for all of them. */

import { Button, SegmentedControl } from "@mantine/core";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { useDeployments } from "@/api/deployments";
import { useMachineTransitionsIn } from "@/api/machines";
import type { Machine } from "@/api/machineTypes";
import { stretchesOf } from "@/parts/chart/stretches";
import { Unmarked } from "@/parts/chart/Unmarked";
import { Deployments } from "@/parts/deployments/Deployments";
import { marksOf } from "@/parts/deployments/marks";
import { Loading } from "@/parts/States";
import { sightFrom, WINDOWS, withWindow, withZoom } from "@/parts/windows";
import { clock, useNow } from "@/words/clock";
import { ChartPanel } from "./charts/ChartPanel";
import { chartsOf } from "./charts/specs";
import styles from "./Charts.module.css";

const FALLBACK = "1h";
const OFFERED = WINDOWS.filter((window) => window.name !== "1y");

export default function Charts({ machine, loading }: { machine: Machine; loading: boolean }) {
  const [parameters, setParameters] = useSearchParams();
  const now = useNow();
  const sight = sightFrom(parameters, FALLBACK, { bornMs: 0, intervalMs: machine.every_s * 1_000 });
  const inSight = {
    named: sight.named,
    rangeNow: () => sight.rangeAt(clock.now()),
    endsNow: sight.window !== null,
  };
  const transitions = useMachineTransitionsIn(machine.id, inSight);
  const deployments = useDeployments("machine", machine.id, inSight);
  const charts = useMemo(() => chartsOf(machine.series ?? []), [machine.series]);
  const stretches = useMemo(() => stretchesOf(transitions.data?.items ?? []), [transitions.data]);
  const marks = useMemo(() => marksOf(deployments.data?.items ?? []), [deployments.data]);

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
      <Unmarked transitions={transitions} deployments={deployments} />
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
              marks={marks}
              zoom={zoom}
              reset={reset}
            />
          ))}
        </div>
      )}
      <Deployments page={deployments.data} framed />
    </section>
  );
}
