/** In what a chart's axis counts: the words of a number, and steps that give round ones. Pure. */

import { capacity, celsius, flow, plain, share } from "@/words/measures";

export interface Unit {
  words: (value: number | null) => string;
  /** Between two lines of the axis; as uPlot likes it where this is left out. */
  steps?: number[];
}

const BINARY_STEPS = Array.from({ length: 51 }, (_, power) => 2 ** power);

export const SHARE: Unit = { words: share };
export const CAPACITY: Unit = { words: capacity, steps: BINARY_STEPS };
export const FLOW: Unit = { words: flow };
export const CELSIUS: Unit = { words: celsius };
export const COUNT: Unit = { words: plain };

export function suffixed(suffix: string): Unit {
  return { words: (value) => (value === null ? "–" : `${plain(value)}\u00a0${suffix}`) };
}

/** What a series says of itself, in OpenTelemetry's words (UCUM). */
export function unitOf(ucum: string): Unit {
  switch (ucum) {
    case "By":
      return CAPACITY;
    case "By/s":
      return FLOW;
    case "Cel":
      return CELSIUS;
    case "1":
      return COUNT;
    case "":
      return COUNT;
    default:
      return suffixed(ucum.replace(/[{}]/g, ""));
  }
}
