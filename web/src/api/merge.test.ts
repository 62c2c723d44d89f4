import { expect, it } from "vitest";
import { exampleTarget } from "./examples";
import { mergedTargets, strangers } from "./merge";
import type { TargetState } from "./types";

const known = [exampleTarget({ id: 1 }), exampleTarget({ id: 2 }), exampleTarget({ id: 3 })];

function state(id: number, changes: Partial<TargetState> = {}): TargetState {
  const { verdict, since, reason, enabled, last_check_at, last_latency_ms } = exampleTarget({ id });
  return { id, verdict, since, reason, enabled, last_check_at, last_latency_ms, ...changes };
}

it("lays changes over what is known and keeps everything else the same object", () => {
  const merged = mergedTargets(known, {
    targets: [state(2, { verdict: "down", reason: "refused" })],
    removed: [],
  });
  expect(merged[1]).toMatchObject({ id: 2, name: "target 2", verdict: "down", reason: "refused" });
  expect(merged[0]).toBe(known[0]);
  expect(merged[2]).toBe(known[2]);
});

it("gives the very same list when nothing it holds has changed, so that nothing is drawn again", () => {
  expect(mergedTargets(known, { targets: [state(1), state(9)], removed: [8] })).toBe(known);
});

it("drops what was removed", () => {
  expect(mergedTargets(known, { targets: [], removed: [2] }).map(({ id }) => id)).toEqual([1, 3]);
});

it("notices targets somebody added elsewhere", () => {
  expect(strangers(known, { targets: [state(3)], removed: [] })).toBe(false);
  expect(strangers(known, { targets: [state(4)], removed: [] })).toBe(true);
});
