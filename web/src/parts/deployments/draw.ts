/** Deployments on a drawing: a dotted line at each moment with a glyph below the axis, a faint band while it took. */

import type uPlot from "uplot";
import type { Deployment } from "@/api/types";
import type { Colours } from "@/parts/chart/marks";
import { bandsOf, clustersOf, nearest, type Cluster, type Mark } from "./marks";

/** Of one glyph, and what is free beside it. */
const GLYPH_PX = 10;
const FREE_PX = 2;
const LEAST_BAND_PX = 2;
const POINTED_PX = 12;
const BAND_ALPHA = "1c";
const NONE: readonly Deployment[] = [];

/** Room under the axis for the glyphs, above its words. */
export const GLYPH_ROOM = 12;

export interface Layer {
  behind: (plot: uPlot) => void;
  over: (plot: uPlot) => void;
  /** Tells which are near the pointer. For setCursor, which uPlot also calls once made and after new data: none goes stale. */
  pointed: (plot: uPlot) => void;
}

interface Wanted {
  /** Looked up whenever it is drawn again. */
  marks: () => readonly Mark[];
  colour: Colours;
  onNear: (deployments: readonly Deployment[]) => void;
}

export function deploymentLayer({ marks, colour, onNear }: Wanted): Layer {
  let clusters: Cluster[] = [];
  return {
    behind: (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.fillStyle = `${colour("--deploy")}${BAND_ALPHA}`;
      const size = { widthPx: bbox.width / devicePixelRatio, leastPx: LEAST_BAND_PX };
      for (const { left, right } of bandsOf(marks(), (at) => plot.valToPos(at, "x"), size)) {
        ctx.fillRect(
          bbox.left + left * devicePixelRatio,
          bbox.top,
          (right - left) * devicePixelRatio,
          bbox.height,
        );
      }
      ctx.restore();
    },
    over: (plot) => {
      const size = {
        widthPx: plot.bbox.width / devicePixelRatio,
        glyphPx: (number: number) => widthOf(number) + FREE_PX,
      };
      clusters = clustersOf(marks(), (at) => plot.valToPos(at, "x"), size);
      for (const cluster of clusters) drawCluster(plot, cluster, colour);
    },
    pointed: (plot) => {
      const x = plot.cursor.left ?? -1;
      onNear((x < 0 ? null : nearest(clusters, x, POINTED_PX))?.deployments ?? NONE);
    },
  };
}

function widthOf(deployments: number): number {
  return deployments === 1 ? GLYPH_PX : 8 + 6 * String(deployments).length;
}

function drawCluster(plot: uPlot, { x, status, deployments }: Cluster, colour: Colours): void {
  const { ctx, bbox } = plot;
  const bottom = bbox.top + bbox.height;
  ctx.save();
  // From here on in CSS pixels, with the place on the axis at 0,0.
  ctx.translate(bbox.left + x * devicePixelRatio, bottom);
  ctx.scale(devicePixelRatio, devicePixelRatio);
  ctx.strokeStyle = ctx.fillStyle = colour(status === "failed" ? "--deploy-failed" : "--deploy");
  ctx.lineWidth = 1;
  ctx.setLineDash([1, 2]);
  ctx.beginPath();
  ctx.moveTo(0, 0);
  ctx.lineTo(0, -bbox.height / devicePixelRatio);
  ctx.stroke();
  ctx.setLineDash([]);
  if (deployments.length > 1) drawCount(ctx, deployments.length, status, colour);
  else drawGlyph(ctx, status);
  ctx.restore();
}

/** The same shapes as in Glyph.tsx. */
function drawGlyph(ctx: CanvasRenderingContext2D, status: Deployment["status"]): void {
  ctx.lineJoin = "round";
  ctx.beginPath();
  switch (status) {
    case "succeeded":
      ctx.moveTo(0, 1);
      ctx.lineTo(5, 10);
      ctx.lineTo(-5, 10);
      ctx.closePath();
      ctx.fill();
      return;
    case "running":
      ctx.lineWidth = 1.5;
      ctx.moveTo(0, 2.5);
      ctx.lineTo(4.25, 9.5);
      ctx.lineTo(-4.25, 9.5);
      ctx.closePath();
      ctx.stroke();
      return;
    case "failed":
      ctx.lineWidth = 2;
      ctx.moveTo(-4, 2);
      ctx.lineTo(4, 10);
      ctx.moveTo(4, 2);
      ctx.lineTo(-4, 10);
      ctx.stroke();
      return;
    case "canceled":
      ctx.lineWidth = 2;
      ctx.moveTo(-4.5, 6);
      ctx.lineTo(4.5, 6);
      ctx.stroke();
      return;
  }
}

/** How many: filled, but hollow where one of them failed. */
function drawCount(
  ctx: CanvasRenderingContext2D,
  number: number,
  status: Deployment["status"],
  colour: Colours,
): void {
  const width = widthOf(number);
  ctx.beginPath();
  ctx.roundRect(-width / 2, 1, width, 12, 3);
  if (status === "failed") {
    const own = ctx.fillStyle;
    ctx.fillStyle = colour("--page");
    ctx.fill();
    ctx.lineWidth = 1.5;
    ctx.stroke();
    ctx.fillStyle = own;
  } else {
    ctx.fill();
    ctx.fillStyle = colour("--page");
  }
  ctx.font = "600 9.5px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillText(String(number), 0, 7.5);
}
