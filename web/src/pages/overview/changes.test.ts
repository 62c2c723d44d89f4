import { describe, expect, it } from "vitest";
import type { TimelineEntry } from "@/api/types";
import { changesOf, isFold, linesOf } from "./changes";

let numbers = 0;

function entry(changed: Partial<TimelineEntry>): TimelineEntry {
  numbers += 1;
  return {
    id: numbers,
    rule: "reachable",
    from: "up",
    to: "down",
    at: "2026-03-01T14:02:00.000Z",
    ended_at: null,
    duration_s: 0,
    reason: "",
    location: "local",
    check_at: "2026-03-01T14:02:00.000Z",
    because_of: null,
    has_evidence: false,
    target: { id: 1, name: "shop" },
    machine: null,
    ...changed,
  };
}

function target(id: number) {
  return { id, name: `target ${id}` };
}

function ofMachine(id: number): Partial<TimelineEntry> {
  return { target: null, machine: { id, name: `web-${id}` }, rule: "cpu", location: null };
}

function recovered(at: string, lastedS: number, changed: Partial<TimelineEntry> = {}): TimelineEntry[] {
  const began = new Date(Date.parse(at) - lastedS * 1_000).toISOString();
  return [
    entry({ from: "down", to: "up", at, ...changed }),
    entry({ at: began, ended_at: at, duration_s: lastedS, reason: "refused", ...changed }),
  ];
}

describe("changes", () => {
  it("tell an outage that is over once, with how long and why", () => {
    const changes = changesOf(recovered("2026-03-01T14:06:00.000Z", 240));
    expect(changes).toHaveLength(1);
    expect(changes[0]).toMatchObject({
      event: "recovered",
      trouble: "down",
      at: "2026-03-01T14:06:00.000Z",
      since: "2026-03-01T14:02:00.000Z",
      lastedMs: 240_000,
      reason: "refused",
    });
  });

  it("tell trouble that lasts, and trouble that gave way to another", () => {
    const at = "2026-03-01T14:02:00.000Z";
    const changes = changesOf([
      entry({ from: "degraded", to: "down", at }),
      entry({ to: "degraded", at: "2026-03-01T14:00:00.000Z", ended_at: at, duration_s: 120 }),
    ]);
    expect(changes.map(({ event, trouble, lastedMs }) => [event, trouble, lastedMs])).toEqual([
      ["began", "down", null],
      ["passed", "degraded", 120_000],
    ]);
  });

  it("do not take one state's end for another's", () => {
    const at = "2026-03-01T14:06:00.000Z";
    const [up] = recovered(at, 240);
    const certificate = entry({ rule: "certificate", to: "degraded", ended_at: at });
    const other = entry({ target: target(2), ended_at: at });
    const changes = changesOf([...(up === undefined ? [] : [up]), certificate, other]);
    expect(changes.map(({ event, lastedMs }) => [event, lastedMs])).toEqual([
      ["recovered", null],
      ["passed", 0],
      ["passed", 0],
    ]);
  });

  it("belong together whichever location settled them", () => {
    const [up, down] = recovered("2026-03-01T14:06:00.000Z", 240);
    if (up === undefined || down === undefined) throw new Error("two entries");
    const changes = changesOf([
      { ...up, location: "fra" },
      { ...down, location: "nyc" },
    ]);
    expect(changes.map(({ event, lastedMs }) => [event, lastedMs])).toEqual([["recovered", 240_000]]);
  });

  it("do not take a machine for the target of its number", () => {
    const at = "2026-03-01T14:06:00.000Z";
    const [up] = recovered(at, 240, ofMachine(1));
    if (up === undefined) throw new Error("an entry");
    const changes = changesOf([up, entry({ rule: "cpu", ended_at: at })]);
    expect(changes.map(({ event, subject }) => [event, subject.kind, subject.name])).toEqual([
      ["recovered", "machine", "web-1"],
      ["passed", "target", "shop"],
    ]);
  });

  it("say paused when it was", () => {
    expect(changesOf([entry({ to: "unknown", reason: "paused" })])[0]).toMatchObject({
      event: "began",
      trouble: "paused",
      reason: "",
    });
  });

  it("leave out what was found well", () => {
    expect(changesOf([entry({ from: "unknown", to: "up" })])).toEqual([]);
  });
});

describe("lines", () => {
  const many = (count: number) => Array.from({ length: count }, (_, id) => entry({ target: target(id) }));

  it("fold many equal changes of one minute", () => {
    const earlier = entry({ target: target(99), at: "2026-03-01T14:01:59.000Z" });
    const [fold, single, ...rest] = linesOf([...many(60), earlier], false);
    expect(fold).toMatchObject({ of: "many", orMore: false });
    expect(fold !== undefined && isFold(fold) && fold.changes).toHaveLength(60);
    expect(single).toMatchObject({ subject: { id: 99 } });
    expect(rest).toEqual([]);
  });

  it("fold machines apart from targets, and one rule apart from another", () => {
    const machines = [1, 2, 3].map((id) => entry(ofMachine(id)));
    const memory = [1, 2, 3].map((id) => entry({ ...ofMachine(id), rule: "memory" }));
    const lines = linesOf([...many(3), ...machines, ...memory], false);
    expect(lines.map((line) => isFold(line) && line.changes[0]?.subject.kind)).toEqual([
      "target",
      "machine",
      "machine",
    ]);
  });

  it("do not fold one machine's rules as if they were many machines", () => {
    const lines = linesOf(
      ["cpu", "memory", "disk"].map((rule) => entry({ ...ofMachine(1), rule })),
      false,
    );
    expect(lines.some(isFold)).toBe(false);
  });

  it("leave two alone", () => expect(linesOf(many(2), false).some(isFold)).toBe(false));

  it("keep what recovered apart from what is down", () => {
    const back = [1, 2, 3].flatMap((id) =>
      recovered("2026-03-01T14:02:30.000Z", 90, { target: target(100 + id) }),
    );
    const lines = linesOf([...back, ...many(3)], false);
    expect(lines.map((line) => isFold(line) && line.changes[0]?.event)).toEqual(["recovered", "began"]);
  });

  it("fold what one target does again and again within an hour", () => {
    const flaps = [50, 40, 30].flatMap((minute) => recovered(`2026-03-01T14:${minute}:00.000Z`, 20));
    const lines = linesOf([...flaps, ...recovered("2026-03-01T13:59:00.000Z", 20)], false);
    expect(lines.map((line) => isFold(line) && line.of)).toEqual(["one", false]);
  });

  it("do not pretend to have counted what lies beyond the end", () => {
    expect(linesOf(many(60), true)[0]).toMatchObject({ orMore: true });
  });
});
