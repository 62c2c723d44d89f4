import { describe, expect, it } from "vitest";
import { exampleMachine, NOTHING, UNJUDGED } from "@/api/machineExamples";
import { choices } from "@/parts/choices";
import { filtersFrom, matches, parametersFor, selected } from "./filters";
import { isSilent } from "./silence";

const at = (cpu: number | null) => ({ ...NOTHING, cpu });
const web = exampleMachine({ id: 1, name: "web-1", tags: ["prod", "web"], current: at(0.2) });
const db = exampleMachine({ id: 2, name: "db-1", tags: ["prod"], verdict: "degraded", current: at(0.9) });
const old = exampleMachine({ id: 3, name: "node 10", verdict: "down", facts: { "os.type": "freebsd" } });
const new2 = exampleMachine({ id: 4, name: "node 2", verdict: "unknown" });
const all = [web, db, old, new2];

const shown = (query: string) =>
  selected(all, filtersFrom(new URLSearchParams(query))).map(({ name }) => name);

describe("filters in the address", () => {
  it.each([
    ["", ["node 10", "db-1", "node 2", "web-1"]],
    ["sort=name", ["db-1", "node 2", "node 10", "web-1"]],
    ["sort=cpu", ["db-1", "web-1", "node 2", "node 10"]],
    ["sort=-cpu", ["web-1", "db-1", "node 2", "node 10"]],
    ["verdict=down", ["node 10"]],
    ["tag=prod&q=web", ["web-1"]],
    ["q=FreeBSD", ["node 10"]],
  ])("%s shows %s", (query, names) => expect(shown(query)).toEqual(names));

  it("come back as they went", () => {
    for (const query of ["", "q=a+b&tag=%3Cb%3E&verdict=down&sort=-cpu&view=cards"]) {
      expect(parametersFor(filtersFrom(new URLSearchParams(query))).toString()).toBe(query);
    }
  });

  it("ignore what they do not know", () =>
    expect(filtersFrom(new URLSearchParams("verdict=purple&sort=colour&view=3d"))).toMatchObject({
      verdict: "",
      sort: "state",
      view: "table",
    }));
});

it("finds every word, whatever its case", () => {
  expect(matches(web, "WEB prod")).toBe(true);
  expect(matches(web, "web nothing")).toBe(false);
});

it("offers what there is, most used first", () =>
  expect(choices(all, (machine) => machine.tags)).toEqual([
    { value: "prod", count: 2 },
    { value: "web", count: 1 },
  ]));

describe("silence", () => {
  const seen = Date.parse("2026-03-01T00:00:00.000Z");
  it("is three ticks, and at least 15 s", () => {
    expect(isSilent(exampleMachine({ id: 1, every_s: 1 }), seen + 14_000)).toBe(false);
    expect(isSilent(exampleMachine({ id: 1, every_s: 1 }), seen + 16_000)).toBe(true);
    expect(isSilent(exampleMachine({ id: 1, every_s: 60 }), seen + 179_000)).toBe(false);
  });
  it("is what the machine's own band says", () =>
    expect(
      isSilent(
        exampleMachine({ id: 1, bands: { ...UNJUDGED, reporting: { silent_after_s: 300 } } }),
        seen + 200_000,
      ),
    ).toBe(false));
  it("is a machine that was never heard", () =>
    expect(isSilent(exampleMachine({ id: 1, last_seen: null }), seen)).toBe(true));
});
