import { describe, expect, it } from "vitest";
import { exampleAnswer, exampleMachine, exampleSeries, NOTHING } from "./machineExamples";
import type { MachineState } from "./machineTypes";
import { hasNewMachines, hasTurned, mergedMachines, withNewTransitions } from "./mergeMachines";
import { joined, withTail } from "./seriesTail";

const known = [exampleMachine({ id: 1 }), exampleMachine({ id: 2 }), exampleMachine({ id: 3 })];

function state(id: number, changes: Partial<MachineState> = {}): MachineState {
  const { name, verdict, since, reason, last_seen, current } = exampleMachine({ id });
  return { id, name, verdict, since, reason, last_seen, current, ...changes };
}

describe("live changes of machines", () => {
  it("are laid over what is known; everything else stays the same object", () => {
    const later = { last_seen: "2026-03-01T00:00:05.000Z", current: { ...NOTHING, cpu: 0.5 } };
    const merged = mergedMachines(known, { machines: [state(2, later)], removed: [] });
    expect(merged[1]).toMatchObject({ id: 2, tags: [], current: { cpu: 0.5 } });
    expect(merged[0]).toBe(known[0]);
    expect(merged[2]).toBe(known[2]);
  });

  it("give the very same list when they tell nothing new", () =>
    expect(mergedMachines(known, { machines: [state(1), state(9)], removed: [8] })).toBe(known));

  it("never lead back in time", () => {
    const earlier = state(1, { last_seen: "2026-02-28T00:00:00.000Z", verdict: "down" });
    expect(mergedMachines(known, { machines: [earlier], removed: [] })).toBe(known);
  });

  it("take a machine away, and notice one that is new", () => {
    expect(mergedMachines(known, { machines: [], removed: [2] }).map(({ id }) => id)).toEqual([1, 3]);
    expect(hasNewMachines(known, { machines: [state(3)], removed: [] })).toBe(false);
    expect(hasNewMachines(known, { machines: [state(4)], removed: [] })).toBe(true);
  });
});

describe("transitions of machines", () => {
  it("are new where a machine stands otherwise, not where it was only heard of", () => {
    const [first] = known;
    if (first === undefined) throw new Error("nothing known");
    expect(hasTurned(first, state(1, { last_seen: "2026-03-01T00:00:05.000Z" }))).toBe(false);
    expect(hasTurned(first, state(1, { verdict: "down" }))).toBe(true);
    expect(hasTurned(first, state(1, { since: "2026-03-01T00:00:05.000Z" }))).toBe(true);
    expect(hasTurned(first, state(1, { reason: "cpu" }))).toBe(true);
  });

  it("are asked for once a message, whether its verdict, a transition or both are told", () =>
    expect([
      ...withNewTransitions(
        [1, 2],
        [{ machine: { id: 2 } }, { machine: { id: 3 } }, { machine: { id: 3 } }, {}, { machine: null }],
      ),
    ]).toEqual([1, 2, 3]));
});

describe("the tail of a window", () => {
  const stamp = (seconds: number) => new Date(seconds * 1_000).toISOString();
  const seen = { ...exampleAnswer(10, [exampleSeries("cpu", {}, [0, 1, 2, 3, 4, 5])]), wholeAtMs: 0 };
  const tail = {
    ...exampleAnswer(10, [exampleSeries("cpu", {}, [33, 44, 55, 66])]),
    from: stamp(30),
    to: stamp(70),
    at: [30_000, 40_000, 50_000, 60_000],
  };

  it("takes the place of the points it holds too, and what left the window goes", () => {
    const grown = joined(seen, tail, { from: stamp(10), to: stamp(70) });
    expect(grown.at).toEqual([10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    expect(grown.series[0]?.avg).toEqual([1, 2, 33, 44, 55, 66]);
    expect([grown.from, grown.to]).toEqual([stamp(10), stamp(70)]);
  });

  it("leaves nothing of a stretch that the tail knows to be empty", () => {
    const empty = { ...tail, at: [], series: [exampleSeries("cpu", {}, [])] };
    expect(joined(seen, empty, { from: stamp(0), to: stamp(70) }).at).toEqual([0, 10_000, 20_000]);
  });

  const asked = async (before: typeof seen, answer: typeof tail, nowMs: number) => {
    const begins: string[] = [];
    await withTail(
      before,
      { from: stamp(0), to: stamp(70) },
      (from) => {
        begins.push(from);
        return Promise.resolve(answer);
      },
      nowMs,
    );
    return begins;
  };

  it("is all that is asked for", async () => expect(await asked(seen, tail, 1_000)).toEqual([stamp(30)]));
  it("is not enough after a while: samples may have come late", async () =>
    expect(await asked(seen, tail, 300_000)).toEqual([stamp(0)]));
  it("is not enough when there are other series now", async () => {
    const other = { ...tail, series: [exampleSeries("memory", {}, [1, 2, 3, 4])] };
    expect(await asked(seen, other, 1_000)).toEqual([stamp(30), stamp(0)]);
  });
});
