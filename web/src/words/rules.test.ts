import { describe, expect, it } from "vitest";
import { partOf, wordOf } from "./rules";

describe("the words of a rule", () => {
  it.each([
    ["reachable", "", "degraded", "down"],
    ["certificate", "certificate ", "degraded", "down"],
    ["reporting", "", "late", "silent"],
    ["cpu", "CPU ", "high", "critical"],
    ["forecast", "disk space ", "short", "critical"],
    ["a rule of a later version", "", "degraded", "down"],
  ])("%s", (rule, part, degraded, down) => {
    expect(partOf(rule)).toBe(part);
    expect(wordOf(rule, "degraded")).toBe(degraded);
    expect(wordOf(rule, "down")).toBe(down);
    expect(wordOf(rule, "unknown")).toBe("unknown");
  });
});
