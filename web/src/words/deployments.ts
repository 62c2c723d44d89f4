/** Deployments in words. Pure. */

import type { Deployment } from "@/api/types";
import { counted } from "./numbers";

type Named = Pick<Deployment, "service" | "version">;
type Described = Named & Pick<Deployment, "environment" | "by" | "status">;

/** More names than this are too long for a line. */
const MOST_NAMED = 3;

/** "checkout-api v1.42.0". */
export function titleOf({ service, version }: Named): string {
  return version === "" ? service : `${service} ${version}`;
}

/** "production · by ada". */
export function whereabouts({ environment, by }: Pick<Deployment, "environment" | "by">): string {
  return [environment, by === "" ? "" : `by ${by}`].filter((part) => part !== "").join(" · ");
}

/** "checkout-api v1.42.0 · failed · production · by ada"; of several "3 deployments: search v7, …", first what failed. */
export function deploymentWords(deployments: readonly Described[]): string {
  const [first] = deployments;
  if (first === undefined) return "";
  if (deployments.length === 1) {
    const status = first.status === "succeeded" ? [] : [first.status];
    return [titleOf(first), ...status, whereabouts(first)].filter((part) => part !== "").join(" · ");
  }
  const names = [...deployments]
    .sort((a, b) => Number(b.status === "failed") - Number(a.status === "failed"))
    .slice(0, MOST_NAMED)
    .map((each) => (each.status === "succeeded" ? titleOf(each) : `${titleOf(each)} (${each.status})`));
  const more = deployments.length - names.length;
  return `${tally(deployments)}: ${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** "8 deployments, 1 failed". */
export function tally(deployments: readonly Pick<Deployment, "status">[]): string {
  const failed = deployments.filter(({ status }) => status === "failed").length;
  return `${counted(deployments.length, "deployment")}${failed > 0 ? `, ${failed} failed` : ""}`;
}
