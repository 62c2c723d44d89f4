/** The drawing itself: a uPlot in a box, made anew when what it shows changes. */

import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useEffectEvent, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Deployment, Latency } from "@/api/types";
import styles from "@/parts/chart/Chart.module.css";
import type { Stretch } from "@/parts/chart/marks";
import type { Mark } from "@/parts/deployments/marks";
import { gridOf } from "./grid";
import { plotOf, type Mode } from "./plot";

interface Props {
  latency: Latency;
  mode: Mode;
  stretches: readonly Stretch[];
  deployments: readonly Mark[];
  label: string;
  onZoom: (fromMs: number, toMs: number) => void;
  onReset: () => void;
  onCursor: (index: number | null) => void;
  onNear: (deployments: readonly Deployment[]) => void;
}

const HEIGHT = 272;
const PHONE_HEIGHT = 212;

export function LatencyChart(props: Props) {
  const { latency, mode, stretches, deployments, label } = props;
  const scheme = useComputedColorScheme("light");
  const { ref: sized, width } = useElementSize();
  const box = useRef<HTMLDivElement>(null);
  const grid = useMemo(() => gridOf(latency), [latency]);
  const zoom = useEffectEvent(props.onZoom);
  const reset = useEffectEvent(props.onReset);
  const point = useEffectEvent(props.onCursor);
  const near = useEffectEvent(props.onNear);

  useEffect(() => {
    const element = box.current;
    if (element === null || width === 0) return;
    const colours = getComputedStyle(document.documentElement);
    const { data, options } = plotOf({
      mode,
      grid,
      stretches,
      deployments,
      range: { fromS: Date.parse(latency.from) / 1_000, toS: Date.parse(latency.to) / 1_000 },
      colour: (name) => colours.getPropertyValue(name).trim(),
      onZoom: (from, to) => zoom(from, to),
      onReset: () => reset(),
      onCursor: (index) => point(index),
      onNear: (found) => near(found),
    });
    const plot = new uPlot({ ...options, width, height: width < 500 ? PHONE_HEIGHT : HEIGHT }, data, element);
    return () => plot.destroy();
  }, [grid, latency, mode, stretches, deployments, width, scheme]);

  return (
    <div ref={sized} className={styles.chart}>
      <div ref={box} role="img" aria-label={label} />
    </div>
  );
}
