import { expect, it } from "vitest";
import { sparkPaths } from "./sparkPaths";

it("leaves gaps where nothing was measured, and shows a lonely value as a dot", () => {
  const { line, dots, highest, width } = sparkPaths([0, 0.5, null, 1, null, 0.2, 0.2], 12);
  expect(line.match(/M/g)).toHaveLength(2);
  expect(dots).toBe("M12 1h0");
  expect(highest).toBe(1);
  expect(width).toBe(24);
});

it("draws an idle machine near the floor", () => {
  const { line } = sparkPaths([0.001, 0.002], 12);
  expect(line).toBe("M0 10.9L4 10.8");
});

it("is empty of nothing", () =>
  expect(sparkPaths([null, null], 12)).toMatchObject({ line: "", area: "", dots: "", highest: null }));
