/** Deployments as marks on a time axis: where each stands, which are one glyph, which are near the pointer. Pure. */

import type { Deployment } from "@/api/types";

export interface Mark {
  /** When it finished; while nobody has said so, when it began. Epoch seconds. */
  atS: number;
  /** When it began. */
  fromS: number;
  deployment: Deployment;
}

/** Marks so close to each other that they are one glyph. */
export interface Cluster {
  /** Pixels from the left, of the first of them. */
  x: number;
  status: Deployment["status"];
  /** Newest first. */
  deployments: readonly Deployment[];
}

/** From left to right. */
export function marksOf(deployments: readonly Deployment[]): Mark[] {
  return deployments
    .map((deployment) => {
      const fromS = Date.parse(deployment.started_at) / 1_000;
      const { finished_at } = deployment;
      return { atS: finished_at === null ? fromS : Date.parse(finished_at) / 1_000, fromS, deployment };
    })
    .sort((a, b) => a.atS - b.atS);
}

/** Marks in clusters; one joins the cluster before it where it is nearer to its first than the glyph of so many is wide. */
export function clustersOf(
  marks: readonly Mark[],
  xOf: (atS: number) => number,
  { widthPx, glyphPx }: { widthPx: number; glyphPx: (deployments: number) => number },
): Cluster[] {
  const together: { x: number; deployments: Deployment[] }[] = [];
  for (const { atS, deployment } of marks) {
    const x = xOf(atS);
    if (x < 0 || x > widthPx) continue;
    const open = together.at(-1);
    if (open !== undefined && x - open.x < glyphPx(open.deployments.length))
      open.deployments.push(deployment);
    else together.push({ x, deployments: [deployment] });
  }
  return together.map(({ x, deployments }) => ({
    x,
    status: statusOf(deployments),
    deployments: deployments.reverse(),
  }));
}

const LOUDEST = ["failed", "running", "succeeded", "canceled"] as const;

/** Of several together: a failed one among others must not go unseen. */
export function statusOf(deployments: readonly Deployment[]): Deployment["status"] {
  return LOUDEST.find((status) => deployments.some((each) => each.status === status)) ?? "succeeded";
}

/** The cluster nearest to `x`, if any is near. */
export function nearest(clusters: readonly Cluster[], x: number, withinPx: number): Cluster | null {
  let found: Cluster | null = null;
  let leastPx = withinPx;
  for (const cluster of clusters) {
    const px = Math.abs(cluster.x - x);
    if (px > leastPx) continue;
    found = cluster;
    leastPx = px;
  }
  return found;
}

export interface Band {
  left: number;
  right: number;
}

/** Where deployments took visible time; those that overlap are one band, or many would add up to a wall. */
export function bandsOf(
  marks: readonly Mark[],
  xOf: (atS: number) => number,
  { widthPx, leastPx }: { widthPx: number; leastPx: number },
): Band[] {
  const visible = marks
    .map(({ fromS, atS }) => ({ left: Math.max(0, xOf(fromS)), right: Math.min(widthPx, xOf(atS)) }))
    .filter(({ left, right }) => right - left >= leastPx)
    .sort((a, b) => a.left - b.left);
  const bands: Band[] = [];
  for (const band of visible) {
    const last = bands.at(-1);
    if (last !== undefined && band.left <= last.right) last.right = Math.max(last.right, band.right);
    else bands.push(band);
  }
  return bands;
}
