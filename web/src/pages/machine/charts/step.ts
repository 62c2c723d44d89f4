/** How far apart the points of a chart are: as fine as can be seen, and no finer than the machine reports. Pure. */

/** About as many points as a chart is wide. */
const POINTS = 600;
const STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
];

export function stepFor(spanMs: number, everyS: number): number {
  const wanted = spanMs / 1_000 / POINTS;
  const step = STEPS_S.find((each) => each >= wanted) ?? 86_400;
  return Math.max(step, everyS);
}
