/** What the schema cannot say: rules between fields, a name made from the address, an address completed. Pure. */

import type { Values } from "@/parts/form/draft";
import { guessed } from "./guess";

export function timingRules({ interval_s, timeout_s, recheck_s }: Values): Record<string, string> {
  const wrong: Record<string, string> = {};
  if (typeof interval_s !== "number") return wrong;
  // The server's defaults give way to a shorter interval; only what stands in the form can be in its way.
  if (typeof timeout_s === "number" && timeout_s > interval_s && interval_s >= DEFAULT_TIMEOUT_S) {
    wrong.timeout_s = `must be at most the interval, ${interval_s}`;
  }
  if (typeof recheck_s === "number" && recheck_s > interval_s && interval_s >= DEFAULT_RECHECK_S) {
    wrong.recheck_s = `must be at most the interval, ${interval_s}`;
  }
  return wrong;
}

const DEFAULT_TIMEOUT_S = 10;
const DEFAULT_RECHECK_S = 5;

/** A name for a target nobody has named: its host, or its address. */
export function nameFor(kind: string, value: (name: string) => unknown): string {
  const url = value("url");
  if (typeof url === "string" && url !== "") return guessed(url)?.name ?? url;
  const host = value("host");
  const port = value("port");
  if (typeof host !== "string" || host === "") return kind === "heartbeat" ? "job" : "";
  return kind === "tcp" && typeof port === "number" ? `${host}:${port}` : host;
}

/** The values as they are sent: "shop.example" becomes a URL. */
export function settled(kind: string, values: Values): Values {
  const { url } = values;
  if (kind !== "http" || typeof url !== "string") return values;
  const guess = guessed(url);
  return guess?.kind === "http" ? { ...values, ...guess.fields } : { ...values, url: url.trim() };
}
