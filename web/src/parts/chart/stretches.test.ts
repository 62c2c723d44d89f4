import { expect, it } from "vitest";
import type { Verdict } from "@/api/types";
import { stretchesOf } from "./stretches";

function transition(to: Verdict, atS: number, endedS: number | null, rule = "cpu") {
  const stamp = (seconds: number) => new Date(seconds * 1_000).toISOString();
  return { rule, to, at: stamp(atS), ended_at: endedS === null ? null : stamp(endedS) };
}

it("marks every transition, the worst last and so on top", () =>
  expect(
    stretchesOf([transition("down", 10, null), transition("unknown", 20, 30), transition("degraded", 5, 10)]),
  ).toEqual([
    { fromS: 20, toS: 30, sign: "unknown" },
    { fromS: 5, toS: 10, sign: "degraded" },
    { fromS: 10, toS: Infinity, sign: "down" },
  ]));

it("shades neither a recovery nor a certificate: they are moments", () =>
  expect(stretchesOf([transition("up", 30, null), transition("degraded", 40, null, "certificate")])).toEqual([
    { fromS: 30, toS: 30, sign: "up" },
    { fromS: 40, toS: 40, sign: "degraded" },
  ]));
