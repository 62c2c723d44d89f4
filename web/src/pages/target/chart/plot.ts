/** uPlot's options: percentile lines over a min–max envelope, or phases piled up; marks for what happened. */

import type uPlot from "uplot";
import type { Deployment } from "@/api/types";
import { FONT, LONELY_POINTS, timeSpace, timeWords } from "@/parts/chart/axes";
import { mark, shade, type Colours, type Stretch } from "@/parts/chart/marks";
import { deploymentLayer, GLYPH_ROOM } from "@/parts/deployments/draw";
import type { Mark } from "@/parts/deployments/marks";
import { PHASES } from "@/parts/examination/phases";
import { latency as latencyWords } from "@/words/numbers";
import { column, piled, type Grid } from "./grid";

export type Mode = "percentiles" | "phases";

export interface Plot {
  data: uPlot.AlignedData;
  options: Omit<uPlot.Options, "width" | "height">;
}

interface Wanted {
  mode: Mode;
  grid: Grid;
  range: { fromS: number; toS: number };
  stretches: readonly Stretch[];
  deployments: readonly Mark[];
  colour: Colours;
  onZoom: (fromMs: number, toMs: number) => void;
  onReset: () => void;
  onCursor: (index: number | null) => void;
  onNear: (deployments: readonly Deployment[]) => void;
}

export const LINES = [
  { name: "p50", field: "p50_ms", colour: "--accent", width: 2, dash: [] },
  { name: "p95", field: "p95_ms", colour: "--p95", width: 1.5, dash: [] },
  { name: "p99", field: "p99_ms", colour: "--faint", width: 1.25, dash: [4, 3] },
] as const;

export function plotOf(wanted: Wanted): Plot {
  const { mode, grid, colour, range, onNear } = wanted;
  const deployments = deploymentLayer({ marks: () => wanted.deployments, colour, onNear });
  // Where every check failed there is no latency, and no scale for it either.
  const measured = grid.points.some((point) => (point?.max_ms ?? null) !== null);
  const drawn = mode === "percentiles" ? percentiles(grid, colour) : phases(grid, colour);
  return {
    data: drawn.data,
    options: {
      ...drawn.options,
      legend: { show: false },
      // Room on the right for half of the last time under the axis.
      padding: [14, 24, 0, 0],
      cursor: {
        y: false,
        points: { size: 7 },
        drag: { x: true, y: false, setScale: false },
        bind: {
          dblclick: () => () => {
            wanted.onReset();
            return null;
          },
        },
      },
      scales: {
        x: { time: true, range: () => [range.fromS, range.toS] },
        // Latency starts at zero: half the height must mean half the time.
        y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        {
          stroke: colour("--faint"),
          grid: { show: false },
          ticks: { stroke: colour("--line"), width: 1, size: 4 },
          font: FONT,
          size: 30 + GLYPH_ROOM,
          gap: 5 + GLYPH_ROOM,
          space: timeSpace,
          values: timeWords(range),
        },
        {
          stroke: colour("--faint"),
          grid: { stroke: colour("--line"), width: 1 },
          ticks: { show: false },
          font: FONT,
          size: 56,
          space: 36,
          values: (_plot, splits) =>
            splits.map((split) => (split === 0 ? "0" : measured ? latencyWords(split) : "")),
        },
      ],
      hooks: {
        drawClear: [(plot) => shade(plot, wanted.stretches, colour), deployments.behind],
        draw: [deployments.over, (plot) => mark(plot, wanted.stretches, colour)],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            wanted.onZoom(plot.posToVal(left, "x") * 1_000, plot.posToVal(left + width, "x") * 1_000);
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [(plot) => wanted.onCursor(plot.cursor.idx ?? null), deployments.pointed],
      },
    },
  };
}

type Drawn = { data: uPlot.AlignedData; options: Pick<uPlot.Options, "series" | "bands"> };

function percentiles(grid: Grid, colour: Colours): Drawn {
  const edge = { width: 0, stroke: "transparent", points: { show: false } };
  return {
    data: [
      grid.xs,
      column(grid, "max_ms"),
      column(grid, "min_ms"),
      ...[...LINES].reverse().map(({ field }) => column(grid, field)),
    ],
    options: {
      series: [
        {},
        edge,
        edge,
        ...[...LINES].reverse().map((line) => ({
          stroke: colour(line.colour),
          width: line.width,
          dash: [...line.dash],
          points: { ...LONELY_POINTS, fill: colour(line.colour), stroke: colour(line.colour) },
        })),
      ],
      bands: [{ series: [1, 2], fill: colour("--accent-soft") }],
    },
  };
}

function phases(grid: Grid, colour: Colours): Drawn {
  // The tallest pile is drawn first; each lower one covers its own part of it.
  const piles = piled(grid).reverse();
  const names = [...PHASES].reverse();
  return {
    data: [grid.xs, ...piles],
    options: {
      series: [
        {},
        ...names.map((phase) => ({
          stroke: colour(phase.colour),
          fill: colour(phase.colour),
          width: 1,
          points: { ...LONELY_POINTS, fill: colour(phase.colour), stroke: colour(phase.colour) },
        })),
      ],
    },
  };
}
