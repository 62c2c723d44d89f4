import { describe, expect, it } from "vitest";
import { exampleTarget } from "@/api/examples";
import { choices } from "@/parts/choices";
import { filtersFrom, lines, matches, parametersFor, selected } from "./filters";
import { inOrder } from "@/parts/settled";

const shop = exampleTarget({ id: 1, name: "shop", tags: ["prod", "web"], group: "Storefront" });
const api = exampleTarget({ id: 2, name: "api", tags: ["prod"], group: "Storefront", verdict: "down" });
const gate = exampleTarget({ id: 3, name: "gate 10", kind: "icmp", verdict: "degraded" });
const gate2 = exampleTarget({ id: 4, name: "gate 2", kind: "icmp", enabled: false, verdict: "unknown" });
const all = [shop, api, gate, gate2];

const shown = (query: string) =>
  selected(all, filtersFrom(new URLSearchParams(query))).map(({ name }) => name);

describe("filters in the address", () => {
  it.each([
    ["", ["api", "gate 10", "shop", "gate 2"]],
    ["sort=name", ["api", "gate 2", "gate 10", "shop"]],
    ["sort=-name", ["shop", "gate 10", "gate 2", "api"]],
    ["verdict=down", ["api"]],
    ["verdict=paused", ["gate 2"]],
    ["verdict=unknown", []],
    ["kind=icmp&sort=name", ["gate 2", "gate 10"]],
    ["tag=prod&q=sho", ["shop"]],
    ["group=Storefront", ["api", "shop"]],
    ["by=group", ["api", "shop", "gate 10", "gate 2"]],
  ])("%s shows %s", (query, names) => expect(shown(query)).toEqual(names));

  it("come back as they went", () => {
    for (const query of ["", "q=a+b&verdict=down&sort=-uptime&by=group", "tag=%3Cb%3E"]) {
      expect(parametersFor(filtersFrom(new URLSearchParams(query))).toString()).toBe(query);
    }
  });

  it("ignore what they do not know", () => {
    expect(filtersFrom(new URLSearchParams("verdict=purple&sort=colour"))).toMatchObject({
      verdict: "",
      sort: "state",
    });
  });
});

it("finds every word, in the name, the address, a tag or the group, whatever its case", () => {
  expect(matches(shop, "STORE prod")).toBe(true);
  expect(matches(shop, "1.example")).toBe(true);
  expect(matches(shop, "store nothing")).toBe(false);
});

it("offers what there is, most used first", () => {
  expect(choices(all, (target) => target.tags)).toEqual([
    { value: "prod", count: 2 },
    { value: "web", count: 1 },
  ]);
});

it("puts a heading before each group, those without one last", () => {
  const grouped = selected(all, filtersFrom(new URLSearchParams("by=group")));
  expect(
    lines(grouped, true).map((line) =>
      "heading" in line ? `${line.heading} ${line.count}` : line.target.name,
    ),
  ).toEqual(["Storefront 2", "api", "shop", "No group 2", "gate 10", "gate 2"]);
});

it("holds the order while somebody reads, with today's values and new targets at the end", () => {
  const today = [{ ...api, verdict: "up" as const }, gate, exampleTarget({ id: 9 })];
  const held = inOrder([shop, api, gate], today, today);
  expect(held.map(({ id }) => id)).toEqual([2, 3, 9]);
  expect(held[0]?.verdict).toBe("up");
});
