import { describe, expect, it } from "vitest";
import { added, combined, highest, latest, piled, withGaps, type Line } from "./frame";
import { topOf } from "./linePlot";

function line(name: string, avg: (number | null)[]): Line {
  return { name, colour: "--line-1", avg, min: avg, max: avg };
}

it("draws no line across a time without points", () => {
  const { at, lines } = withGaps([0, 5_000, 60_000, 65_000], 5, [line("a", [1, 2, 3, 4])]);
  expect(at).toEqual([0, 5, 10, 60, 65]);
  expect(lines[0]?.avg).toEqual([1, 2, null, 3, 4]);
});

it("takes an unsteady step for no gap", () => {
  const steady = [line("a", [1, 2, 3])];
  expect(withGaps([0, 5_300, 12_000], 5, steady).at).toEqual([0, 5.3, 12]);
});

it("piles kinds up, and leaves empty what none of them has", () => {
  expect(piled([line("a", [1, null, null]), line("b", [2, 3, null])])).toEqual([
    [1, 0, null],
    [3, 3, null],
  ]);
});

it("keeps the highest lines, in their order", () => {
  const lines = [line("a", [1]), line("b", [9]), line("c", [null]), line("d", [5])];
  expect(highest(lines, 2).map(({ name }) => name)).toEqual(["b", "d"]);
});

it("computes with what is there", () => {
  expect(
    combined(
      [
        [1, null, 4],
        [2, 2, 0],
      ],
      (a, b) => a / b,
    ),
  ).toEqual([0.5, null, null]);
  expect(
    added([
      [1, null, null],
      [2, 3, null],
    ]),
  ).toEqual([3, 3, null]);
  expect(latest([1, 2, null])).toBe(2);
});

describe("the end of an axis", () => {
  it.each([
    [0.5, null, 1, 0.54],
    [0.99, null, 1, 1],
    [0.02, 0.1, 1, 0.1],
    [0, null, null, 1],
    [null, null, null, 1],
  ])("of values up to %s, at least %s, at most %s is %s", (high, least, ceiling, top) =>
    expect(topOf(high, least, ceiling)).toBeCloseTo(top, 5),
  );
});
