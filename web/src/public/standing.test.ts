import { describe, expect, it, vi } from "vitest";
import { after, NOTHING, type Machine, type Message } from "./picture";
import { belief, countsOf, headline, inOrder, nameOf, ordering, sentence, unshown, worst } from "./standing";

const AT = "2027-01-15T08:00:00.000Z";
const NOW = Date.parse(AT);

function machine(id: number, rest: Partial<Machine> = {}): Machine {
  return { id, name: `machine ${id}`, verdict: "up", ...rest };
}

const FIRST: Message = {
  type: "initial",
  at: AT,
  source: { connected: true, seen_at: AT },
  machines: [machine(1), machine(2)],
  targets: [{ id: 7, slug: "shop", verdict: "up", enabled: true }],
};

describe("what is known", () => {
  it("begins with the whole and takes changes", () => {
    const first = after(NOTHING, FIRST);
    const next = after(first, {
      type: "changes",
      at: AT,
      machines: [machine(2, { verdict: "down" }), machine(3)],
      machines_removed: [1],
      targets: [],
      removed: [7],
    });
    expect(next.machines).toEqual([machine(2, { verdict: "down" }), machine(3)]);
    expect(next.targets).toEqual([]);
    expect(next.source).toEqual({ connected: true, seen_at: AT });
  });

  it("shares what did not change", () => {
    const first = after(NOTHING, FIRST);
    const next = after(first, {
      type: "changes",
      at: AT,
      machines: [machine(2, { verdict: "down" })],
      machines_removed: [],
      targets: [],
      removed: [],
    });
    expect(next.machines[0]).toBe(first.machines[0]);
    expect(next.targets).toBe(first.targets);
    expect(after(next, { type: "pong" })).toBe(next);
    expect(after(next, { type: "source", at: AT, source: NOTHING.source }).machines).toBe(next.machines);
  });
});

describe("belief", () => {
  it.each([
    [false, { connected: true, seen_at: AT }, NOW, "lost"],
    [true, { connected: false, seen_at: null }, NOW, "none"],
    [true, { connected: true, seen_at: null }, NOW, "none"],
    [true, { connected: false, seen_at: AT }, NOW, "gone"],
    [true, { connected: true, seen_at: AT }, NOW + 60_000, "old"],
    [true, { connected: true, seen_at: AT }, NOW + 5_000, "live"],
  ] as const)("online %s, %o at %d: %s", (online, source, now, believed) => {
    expect(belief(online, source, now)).toBe(believed);
  });

  it("is said with an age", () => {
    const source = { connected: false, seen_at: AT };
    expect(sentence("gone", source, NOW + 3 * 3_600_000)).toContain("3\u00a0h ago");
    expect(sentence("old", source, NOW + 60_000)).toContain("1\u00a0min ago");
    expect(sentence("lost", source, NOW + 60_000)).toContain("1\u00a0min old");
    expect(sentence("lost", NOTHING.source, NOW)).toContain("cannot reach");
    expect(sentence("live", source, NOW)).toBe("");
  });
});

describe("how everything stands", () => {
  it("puts the worst first, then goes by name", () => {
    const machines = [
      machine(1, { name: "b10" }),
      machine(2, { name: "b9" }),
      machine(3, { name: "z", verdict: "down" }),
      machine(4, { name: "y", verdict: "degraded" }),
    ];
    expect(inOrder(machines).map((one) => one.id)).toEqual([3, 4, 2, 1]);
  });

  it("sorts again only when the order is another", () => {
    const order = ordering<Machine>();
    const first = [machine(1), machine(2), machine(3, { verdict: "down" })];
    expect(order(first).map((one) => one.id)).toEqual([3, 1, 2]);
    const sort = vi.spyOn(Array.prototype, "sort");
    const measured = [machine(1, { current: { cpu: 0.5 } }), machine(2), first[2] as Machine];
    const again = order(measured);
    expect(again.map((one) => one.id)).toEqual([3, 1, 2]);
    expect(again[1]).toBe(measured[0]);
    expect(sort).not.toHaveBeenCalled();
    sort.mockRestore();
    expect(order([machine(1), machine(2, { verdict: "down" })]).map((one) => one.id)).toEqual([2, 1]);
    expect(order([machine(1), machine(2), machine(4)]).map((one) => one.id)).toEqual([1, 2, 4]);
    expect(order([machine(1, { name: "z" }), machine(2), machine(4)]).map((one) => one.id)).toEqual([
      2, 4, 1,
    ]);
    expect(order([])).toEqual([]);
  });

  it("says of the past that it is the past", () => {
    const all = { machines: [machine(1), machine(2)], targets: [] };
    expect(headline(all, { isOld: true })).toBe("All 2 were up");
    expect(headline({ machines: [machine(1)], targets: [] }, { isOld: true })).toBe("Was up");
    const some = { machines: [machine(1), machine(2), machine(3, { verdict: "down" })], targets: [] };
    expect(headline(some, { isOld: true })).toBe("1\u00a0was\u00a0down · 2\u00a0were\u00a0up");
  });

  it("claims nothing of what is not shown", () => {
    const all = { machines: [machine(1), machine(2)], targets: [] };
    expect(headline(all, { isPart: true })).toBe("All 2 shown are up");
    const first = after(NOTHING, { ...FIRST, machines_left_out: 3 });
    expect(unshown(first)).toBe("Not everything is shown: there are 3 machines more.");
    const next = after(first, {
      type: "changes",
      at: AT,
      machines: [],
      machines_removed: [],
      targets: [],
      removed: [],
      targets_left_out: 1,
    });
    expect(unshown(next)).toBe("Not everything is shown: there are 3 machines and 1 target more.");
    expect(unshown(after(next, FIRST))).toBe("");
  });

  it("counts what is judged, and leaves out what is paused", () => {
    const picture = {
      machines: [machine(1), machine(2, { verdict: "down" })],
      targets: [{ id: 1, verdict: "down" as const, enabled: false }],
    };
    expect(countsOf(picture)).toEqual({ down: 1, degraded: 0, unknown: 0, up: 1 });
    expect(headline(picture)).toBe("1\u00a0down · 1\u00a0up");
    expect(worst(countsOf(picture))).toBe("down");
  });

  it("is calm when all is well", () => {
    expect(headline({ machines: [machine(1), machine(2)], targets: [] })).toBe("All 2 are up");
    expect(worst(countsOf({ machines: [], targets: [] }))).toBeNull();
  });

  it("says what there is where nothing is judged", () => {
    expect(headline({ machines: [{ id: 1 }], targets: [{ id: 1 }, { id: 2 }] })).toBe("1 machine, 2 targets");
  });

  it("has a name for what has none", () => {
    expect(nameOf({ id: 5 })).toBe("number 5");
    expect(nameOf({ id: 5, name: "  " })).toBe("number 5");
    expect(nameOf({ id: 5, slug: "shop" })).toBe("shop");
  });
});
