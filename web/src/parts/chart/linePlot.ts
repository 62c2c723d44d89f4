/** uPlot's options for lines over their min–max envelopes, or kinds piled up; with levels, and marks for what happened. */

import uPlot from "uplot";
import type { Deployment } from "@/api/types";
import { deploymentLayer, GLYPH_ROOM } from "@/parts/deployments/draw";
import type { Mark } from "@/parts/deployments/marks";
import { FONT, LONELY_POINTS, timeSpace, timeWords } from "./axes";
import { piled, type Frame, type Line } from "./frame";
import { mark, shade, type Colours, type Stretch } from "./marks";
import type { Unit } from "./units";

export interface Level {
  value: number;
  word: string;
}

/** What changes while a drawing stands: it is looked up when it is drawn again. */
export interface Current {
  range: { fromS: number; toS: number };
  stretches: readonly Stretch[];
  deployments: readonly Mark[];
  levels: readonly Level[];
  top: number | null;
}

interface Wanted {
  lines: readonly Line[];
  stacked: boolean;
  unit: Unit;
  ceiling: number | null;
  colour: Colours;
  current: () => Current;
  /** Drawings of the same group show one cursor. */
  group: string;
  onZoom: (fromMs: number, toMs: number) => void;
  onReset: () => void;
  onCursor: (index: number | null) => void;
  onNear: (deployments: readonly Deployment[]) => void;
}

export function linePlot(wanted: Wanted): Omit<uPlot.Options, "width" | "height"> {
  const { lines, stacked, unit, ceiling, colour, current, onNear } = wanted;
  const deployments = deploymentLayer({ marks: () => current().deployments, colour, onNear });
  return {
    ...(stacked ? piledSeries(lines, colour) : lineSeries(lines, colour)),
    legend: { show: false },
    // Room on the right for half of the last time under the axis.
    padding: [14, 24, 0, 0],
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false },
      sync: {
        key: wanted.group,
        setSeries: false,
        scales: ["x", null],
        // One drawing zooms, and the address tells the others.
        filters: { pub: (type) => type === "mousemove" || type === "mouseleave", sub: () => true },
      },
      bind: {
        dblclick: () => () => {
          wanted.onReset();
          return null;
        },
      },
    },
    scales: {
      x: { time: true, range: () => [current().range.fromS, current().range.toS] },
      y: { range: (_plot, _low, high) => [0, topOf(high, current().top, ceiling)] },
    },
    axes: [
      {
        stroke: colour("--faint"),
        grid: { show: false },
        ticks: { stroke: colour("--line"), width: 1, size: 4 },
        font: FONT,
        size: 28 + GLYPH_ROOM,
        gap: 5 + GLYPH_ROOM,
        space: timeSpace,
        values: (plot, splits, ...rest) => timeWords(current().range)(plot, splits, ...rest),
      },
      {
        stroke: colour("--faint"),
        grid: { stroke: colour("--line"), width: 1 },
        ticks: { show: false },
        font: FONT,
        size: 62,
        space: 32,
        ...(unit.steps === undefined ? {} : { incrs: unit.steps }),
        values: (_plot, splits) => splits.map((split) => (split === 0 ? "0" : unit.words(split))),
      },
    ],
    hooks: {
      drawClear: [(plot) => shade(plot, current().stretches, colour), deployments.behind],
      draw: [
        deployments.over,
        (plot) => drawLevels(plot, current().levels, colour),
        (plot) => mark(plot, current().stretches, colour),
      ],
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
  };
}

/** The axis starts at zero; it ends a little above the highest value, at the least top or at the ceiling. */
export function topOf(high: number | null, least: number | null, ceiling: number | null): number {
  const wanted = Math.max((high ?? 0) * 1.08, least ?? 0);
  const top = wanted > 0 ? wanted : 1;
  return ceiling === null ? top : Math.min(top, ceiling);
}

/** In the order in which `linePlot` asks for them. */
export function plotData({ at, lines }: Frame, stacked: boolean): uPlot.AlignedData {
  if (stacked) return [at, ...piled(lines).reverse()];
  return [at, ...lines.flatMap((line) => [line.max, line.min]), ...lines.map((line) => line.avg)];
}

type Drawn = Pick<uPlot.Options, "series" | "bands">;

const ENVELOPE_ALPHA = "2e";

function lineSeries(lines: readonly Line[], colour: Colours): Drawn {
  const edge: uPlot.Series = { width: 0, stroke: "transparent", points: { show: false } };
  return {
    series: [
      {},
      ...lines.flatMap(() => [edge, edge]),
      ...lines.map((line) => ({
        stroke: colour(line.colour),
        width: 1.5,
        points: { ...LONELY_POINTS, fill: colour(line.colour), stroke: colour(line.colour) },
      })),
    ],
    bands: lines.map((line, index) => ({
      series: [1 + 2 * index, 2 + 2 * index],
      fill: `${colour(line.colour)}${ENVELOPE_ALPHA}`,
    })),
  };
}

/** The tallest pile is drawn first; each lower one covers its own part of it. */
function piledSeries(lines: readonly Line[], colour: Colours): Drawn {
  return {
    series: [
      {},
      ...[...lines].reverse().map((line) => ({
        stroke: colour(line.colour),
        fill: colour(line.colour),
        width: 1,
        points: { ...LONELY_POINTS, fill: colour(line.colour), stroke: colour(line.colour) },
      })),
    ],
  };
}

/** Dashed lines across: where it becomes too much, with the word for it. */
function drawLevels(plot: uPlot, levels: readonly Level[], colour: Colours): void {
  const { ctx, bbox } = plot;
  const high = plot.scales.y?.max ?? 0;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.strokeStyle = colour("--mark");
  ctx.fillStyle = colour("--faint");
  ctx.font = `${10 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  for (const { value, word } of levels) {
    if (value > high) continue;
    const y = plot.valToPos(value, "y", true);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.fillText(word, bbox.left + bbox.width - 4 * devicePixelRatio, y - 2 * devicePixelRatio);
  }
  ctx.restore();
}
