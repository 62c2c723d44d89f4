/** The drawing itself: a uPlot in a box. New numbers move it on; only another set of lines makes it anew. */

import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useEffectEvent, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Deployment } from "@/api/types";
import styles from "./Chart.module.css";
import type { Frame } from "./frame";
import { linePlot, plotData, type Current } from "./linePlot";
import type { Unit } from "./units";

interface Props {
  frame: Frame;
  stacked: boolean;
  unit: Unit;
  ceiling: number | null;
  current: Current;
  label: string;
  height: number;
  group: string;
  onZoom: (fromMs: number, toMs: number) => void;
  onReset: () => void;
  onCursor: (index: number | null) => void;
  onNear: (deployments: readonly Deployment[]) => void;
}

export function LineChart(props: Props) {
  const { frame, stacked, unit, ceiling, current, label, height, group } = props;
  const scheme = useComputedColorScheme("light");
  const { ref: sized, width } = useElementSize();
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const zoom = useEffectEvent(props.onZoom);
  const reset = useEffectEvent(props.onReset);
  const point = useEffectEvent(props.onCursor);
  const near = useEffectEvent(props.onNear);
  const latest = useRef({ frame, current });
  const shape = useMemo(
    () => JSON.stringify(frame.lines.map(({ name, colour }) => [name, colour])),
    [frame.lines],
  );

  useEffect(() => {
    latest.current = { frame, current };
    plot.current?.setData(plotData(frame, stacked));
  }, [frame, current, stacked]);

  useEffect(() => {
    const element = box.current;
    if (element === null || width === 0) return;
    const colours = getComputedStyle(document.documentElement);
    const options = linePlot({
      lines: (JSON.parse(shape) as [string, string][]).map(([name, colour]) => ({
        name,
        colour,
        avg: [],
        min: [],
        max: [],
      })),
      stacked,
      unit,
      ceiling,
      group,
      colour: (name) => colours.getPropertyValue(name).trim(),
      current: () => latest.current.current,
      onZoom: (from, to) => zoom(from, to),
      onReset: () => reset(),
      onCursor: (index) => point(index),
      onNear: (deployments) => near(deployments),
    });
    const made = new uPlot({ ...options, width, height }, plotData(latest.current.frame, stacked), element);
    plot.current = made;
    return () => {
      plot.current = null;
      made.destroy();
    };
  }, [shape, stacked, unit, ceiling, group, width, height, scheme]);

  return (
    <div ref={sized} className={styles.chart} style={{ minHeight: height }}>
      <div ref={box} role="img" aria-label={label} />
    </div>
  );
}
