/** What changed, drawn over and behind a chart's lines: stretches that were not well, and a sign where each change was. */

import type uPlot from "uplot";
import type { Verdict } from "@/api/types";

export interface Stretch {
  fromS: number;
  /** Infinity: it lasts. The same as `fromS`: a moment, which has a sign and no shade. */
  toS: number;
  sign: Verdict;
}

/** A colour of tokens.css, by its name. */
export type Colours = (name: string) => string;

/** Behind the lines: down is tinted, unknown is hatched. */
export function shade(plot: uPlot, all: readonly Stretch[], colour: Colours): void {
  const { ctx } = plot;
  for (const { left, width, sign } of placed(plot, all)) {
    if (width === null) continue;
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

/** Above the lines: where it changed, with the sign of what it changed to; of signs that would overlap, the worst. */
export function mark(plot: uPlot, all: readonly Stretch[], colour: Colours): void {
  const { ctx } = plot;
  const size = 8 * devicePixelRatio;
  const changes = placed(plot, all).filter(({ began }) => began);
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  for (const { left, sign } of changes) {
    ctx.strokeStyle = colour(`--${sign}`);
    ctx.globalAlpha = sign === "up" ? 0.3 : 0.5;
    ctx.beginPath();
    ctx.moveTo(left, plot.bbox.top);
    ctx.lineTo(left, plot.bbox.top + plot.bbox.height);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  const taken: number[] = [];
  for (const { left, sign } of changes.reverse()) {
    if (taken.some((x) => Math.abs(x - left) < size)) continue;
    taken.push(left);
    ctx.strokeStyle = ctx.fillStyle = colour(`--${sign}`);
    drawSign(ctx, sign, left, plot.bbox.top - size * 0.7, size);
  }
  ctx.restore();
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
  if (sign === "up") ctx.fill();
  if (sign === "degraded") {
    ctx.beginPath();
    ctx.arc(x, y, radius, Math.PI / 2, (3 * Math.PI) / 2);
    ctx.fill();
  }
}

interface Placed {
  left: number;
  /** Null: a moment. */
  width: number | null;
  /** Whether it began within what is shown. */
  began: boolean;
  sign: Stretch["sign"];
}

function placed(plot: uPlot, all: readonly Stretch[]): Placed[] {
  const low = plot.scales.x?.min ?? 0;
  const high = plot.scales.x?.max ?? 0;
  return all
    .filter(({ fromS, toS }) => toS >= low && fromS < high)
    .map(({ fromS, toS, sign }) => {
      const left = plot.valToPos(Math.max(fromS, low), "x", true);
      return {
        left,
        width: toS === fromS ? null : plot.valToPos(Math.min(toS, high), "x", true) - left,
        began: fromS >= low,
        sign,
      };
    });
}
