/** What a filter offers. Pure. */

import type { Choice } from "./Filter";

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** What there is to choose from, most used first. */
export function choices<T>(all: readonly T[], of: (one: T) => readonly string[]): Choice[] {
  const counts = new Map<string, number>();
  for (const one of all) {
    for (const value of of(one)) if (value !== "") counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts]
    .map(([value, count]) => ({ value, count }))
    .sort((a, b) => b.count - a.count || collator.compare(a.value, b.value));
}
