/** What happened, drawn over and behind a chart's lines: stretches that were not well, each with its sign where it began. */

import type uPlot from "uplot";
import type { Verdict } from "@/api/types";

export interface Stretch {
  fromS: number;
  toS: number;
  sign: Exclude<Verdict, "up">;
}

/** A colour of tokens.css, by its name. */
export type Colours = (name: string) => string;

/** Behind the lines: down is tinted, unknown is hatched. */
export function shade(plot: uPlot, all: readonly Stretch[], colour: Colours): void {
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
export function mark(plot: uPlot, all: readonly Stretch[], colour: Colours): void {
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
