import { expect, test } from "vitest";
import { timesOf } from "./axes";

const NOON_S = new Date(2026, 4, 4, 12).getTime() / 1_000;

function every(stepS: number): string[] {
  const splits = [0, 1, 2, 3].map((step) => NOON_S + step * stepS);
  return timesOf({ fromS: NOON_S, toS: NOON_S + 4 * stepS }, splits);
}

test("no two times under an axis read alike, however close they are", () => {
  expect(new Set(every(15)).size).toBe(4);
  expect(new Set(every(60)).size).toBe(4);
});

test("seconds are told only where they tell something", () => {
  expect(every(15)[1]).toContain(":15");
  expect(every(60)[1]).not.toContain(":00");
});
