/** uPlot's options: percentile lines over a min–max envelope, or phases piled up; marks for what happened. */

import uPlot from "uplot";
import { PHASES } from "@/parts/examination/phases";
import { latency as latencyWords } from "@/words/numbers";
import { column, lonely, piled, type Grid, type Stretch } from "./grid";

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
  colour: (name: string) => string;
  onZoom: (fromMs: number, toMs: number) => void;
  onReset: () => void;
  onCursor: (index: number | null) => void;
}

export const LINES = [
  { name: "p50", field: "p50_ms", colour: "--accent", width: 2, dash: [] },
  { name: "p95", field: "p95_ms", colour: "--p95", width: 1.5, dash: [] },
  { name: "p99", field: "p99_ms", colour: "--faint", width: 1.25, dash: [4, 3] },
] as const;

export function plotOf(wanted: Wanted): Plot {
  const { mode, grid, colour, range } = wanted;
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
          size: 30,
          space: 64,
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
        drawClear: [(plot) => shade(plot, wanted.stretches, colour)],
        draw: [(plot) => mark(plot, wanted.stretches, colour)],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            wanted.onZoom(plot.posToVal(left, "x") * 1_000, plot.posToVal(left + width, "x") * 1_000);
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [(plot) => wanted.onCursor(plot.cursor.idx ?? null)],
      },
    },
  };
}

const FONT = "11px system-ui, sans-serif";
const DAY_S = 86_400;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const MONTH = new Intl.DateTimeFormat(undefined, { month: "short", year: "2-digit" });

function timeWords({ fromS, toS }: Wanted["range"]): uPlot.Axis.DynamicValues {
  const spanS = toS - fromS;
  return (_plot, splits) =>
    splits.map((split) => {
      const at = new Date(split * 1_000);
      if (spanS > 200 * DAY_S) return MONTH.format(at);
      // Days are named where they begin; twelve hours later it is still the same day.
      return at.getHours() === 0 && at.getMinutes() === 0 ? DATE.format(at) : CLOCK.format(at);
    });
}

type Drawn = { data: uPlot.AlignedData; options: Pick<uPlot.Options, "series" | "bands"> };

/** Values without a neighbour still show, as dots. */
const LONELY_POINTS: uPlot.Series.Points = {
  show: true,
  size: 4,
  filter: (plot, series) => lonely(plot.data[series] as (number | null)[]),
};

function percentiles(grid: Grid, colour: (name: string) => string): Drawn {
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

function phases(grid: Grid, colour: (name: string) => string): Drawn {
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

/** Behind the lines: down is tinted, unknown is hatched. */
function shade(plot: uPlot, all: readonly Stretch[], colour: (name: string) => string): void {
  const { ctx } = plot;
  for (const { left, width, sign } of placed(plot, all)) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, plot.bbox.top, Math.max(width, 1), plot.bbox.height);
    ctx.clip();
    if (sign === "unknown") {
      ctx.strokeStyle = colour("--line-strong");
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      const gap = 6 * devicePixelRatio;
      for (let x = left - plot.bbox.height; x < left + width; x += gap) {
        ctx.moveTo(x, plot.bbox.top + plot.bbox.height);
        ctx.lineTo(x + plot.bbox.height, plot.bbox.top);
      }
      ctx.stroke();
    } else {
      ctx.fillStyle = colour(sign === "down" ? "--down-soft" : "--degraded-soft");
      ctx.fill();
    }
    ctx.restore();
  }
}

/** Above the lines: where each trouble began, with its sign. */
function mark(plot: uPlot, all: readonly Stretch[], colour: (name: string) => string): void {
  const { ctx } = plot;
  const size = 8 * devicePixelRatio;
  for (const { began, sign } of placed(plot, all)) {
    if (began === null) continue;
    ctx.save();
    ctx.strokeStyle = colour(`--${sign}`);
    ctx.fillStyle = colour(`--${sign}`);
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(began, plot.bbox.top);
    ctx.lineTo(began, plot.bbox.top + plot.bbox.height);
    ctx.globalAlpha = 0.5;
    ctx.stroke();
    ctx.globalAlpha = 1;
    drawSign(ctx, sign, began, plot.bbox.top - size * 0.7, size);
    ctx.restore();
  }
}

function drawSign(
  ctx: CanvasRenderingContext2D,
  sign: Stretch["sign"],
  x: number,
  y: number,
  size: number,
): void {
  const radius = size / 2;
  ctx.beginPath();
  if (sign === "down") {
    ctx.rect(x - radius, y - radius, size, size);
    ctx.fill();
    return;
  }
  ctx.arc(x, y, radius - 0.5, 0, 2 * Math.PI);
  ctx.stroke();
  if (sign === "degraded") {
    ctx.beginPath();
    ctx.arc(x, y, radius, Math.PI / 2, (3 * Math.PI) / 2);
    ctx.fill();
  }
}

interface Placed {
  left: number;
  width: number;
  /** Where it began, in canvas pixels; null when that lies before what is shown. */
  began: number | null;
  sign: Stretch["sign"];
}

function placed(plot: uPlot, all: readonly Stretch[]): Placed[] {
  const low = plot.scales.x?.min ?? 0;
  const high = plot.scales.x?.max ?? 0;
  return all
    .filter(({ fromS, toS }) => toS > low && fromS < high)
    .map(({ fromS, toS, sign }) => {
      const left = plot.valToPos(Math.max(fromS, low), "x", true);
      return {
        left,
        width: plot.valToPos(Math.min(toS, high), "x", true) - left,
        began: fromS >= low ? left : null,
        sign,
      };
    });
}
