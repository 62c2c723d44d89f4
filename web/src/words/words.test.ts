import { describe, expect, it } from "vitest";
import { bytes, counted, latency, percent } from "./numbers";
import { ago, duration, roughDuration, seconds } from "./time";
import { rank, tabTitle, word } from "./verdicts";

/** As it is read: the spaces that hold a number and its unit together are spaces. */
function read(words: string): string {
  return words.replaceAll("\u00a0", " ");
}

describe("percent", () => {
  it.each([
    [1, "100 %"],
    [0.99996, "99.996 %"],
    [0.9999999, "99.999 %"],
    [0.9998, "99.98 %"],
    [0.99419, "99.41 %"],
    [0.66399, "66.3 %"],
    [0.00183, "0.1 %"],
    [0, "0 %"],
    [null, "no data"],
  ])("%s is said as %s", (ratio, said) => expect(read(percent(ratio))).toBe(said));

  it("never says 100 of anything less, and never more than is true", () => {
    for (let outage = 1; outage <= 31_536_000; outage *= 3) {
      const ratio = 1 - outage / 31_536_000;
      const said = Number.parseFloat(percent(ratio));
      expect(said).toBeLessThan(100);
      expect(said).toBeLessThanOrEqual(ratio * 100 + 1e-9);
    }
  });
});

describe("latency", () => {
  it.each([
    [0, "0 ms"],
    [0.04, "<0.1 ms"],
    [2.345, "2.3 ms"],
    [42.4, "42 ms"],
    [999.4, "999 ms"],
    [1_234, "1.23 s"],
    [30_000, "30 s"],
    [null, "–"],
  ])("%s is said as %s", (ms, said) => expect(read(latency(ms))).toBe(said));
});

describe("duration", () => {
  const MINUTE = 60_000;
  it.each([
    [-5, "0 s"],
    [59_999, "59 s"],
    [MINUTE, "1 min"],
    [4 * MINUTE + 3_000, "4 min 3 s"],
    [5 * MINUTE + 3_000, "5 min"],
    [134 * MINUTE, "2 h 14 min"],
    [120 * MINUTE, "2 h"],
    [76 * 60 * MINUTE, "3 d 4 h"],
    [400 * 24 * 60 * MINUTE, "400 d"],
  ])("%s ms is said as %s", (ms, said) => expect(read(duration(ms))).toBe(said));

  it("has one unit where there is little room", () => expect(read(roughDuration(134 * MINUTE))).toBe("2 h"));
  it("keeps fractions of a second in settings", () => expect(read(seconds(0.5))).toBe("0.5 s"));
});

describe("ago", () => {
  it.each([
    [1_000_000, "now"],
    [990_000, "10 s ago"],
    [1_120_000, "in 2 min"],
  ])("%s at 1000000 is %s", (at, said) => expect(read(ago(at, 1_000_000))).toBe(said));
});

describe("verdicts", () => {
  it("puts the worst first and what is paused last", () => {
    const order = (["up", "unknown", "down", "degraded"] as const)
      .map((verdict) => ({ verdict, enabled: true }))
      .concat([{ verdict: "down", enabled: false }])
      .sort((a, b) => rank(a) - rank(b))
      .map(word);
    expect(order).toEqual(["down", "degraded", "unknown", "up", "paused"]);
  });

  it("counts the worst in the tab", () => {
    expect(tabTitle({ down: 2, degraded: 1 }, "")).toBe("2 down · Tocsin");
    expect(tabTitle({ down: 0, degraded: 1 }, "Targets")).toBe("1 degraded · Targets · Tocsin");
    expect(tabTitle({ down: 0, degraded: 0 }, "")).toBe("Tocsin");
  });
});

it("never parts a number from its unit", () => {
  const said = [
    percent(0.5),
    latency(42),
    latency(1_234),
    duration(134 * 60_000),
    roughDuration(5_000),
    bytes(1_500),
  ];
  for (const words of said) expect(words).not.toContain(" ");
});

it("counts and measures", () => {
  expect(counted(1, "check")).toBe("1 check");
  expect(counted(1_234, "check")).toBe("1,234 checks");
  expect(read(bytes(1_500))).toBe("1.5 kB");
});
