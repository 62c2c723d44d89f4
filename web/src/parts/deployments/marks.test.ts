import { describe, expect, it } from "vitest";
import { exampleDeployment } from "@/api/examples";
import type { Deployment } from "@/api/types";
import { bandsOf, clustersOf, marksOf, nearest, statusOf } from "./marks";

const stamp = (seconds: number) => new Date(seconds * 1_000).toISOString();

function deployed(
  id: string,
  fromS: number,
  toS: number | null,
  status: Deployment["status"] = toS === null ? "running" : "succeeded",
): Deployment {
  return exampleDeployment({
    id,
    status,
    started_at: stamp(fromS),
    finished_at: toS === null ? null : stamp(toS),
  });
}

/** A pixel a second. */
const xOf = (atS: number) => atS;
const size = { widthPx: 100, glyphPx: (number: number) => (number > 9 ? 20 : 10) };

function clusters(...deployments: Deployment[]) {
  return clustersOf(marksOf(deployments), xOf, size);
}

it("stands where it finished, and while it runs where it began", () =>
  expect(marksOf([deployed("b", 10, 30), deployed("a", 20, null)]).map(({ atS }) => atS)).toEqual([20, 30]));

describe("marks close to each other", () => {
  it("are one, at the first of them, newest first", () => {
    const found = clusters(deployed("a", 10, 10), deployed("b", 16, 16), deployed("c", 50, 50));
    expect(found.map(({ x, deployments }) => [x, deployments.map(({ id }) => id)])).toEqual([
      [10, ["b", "a"]],
      [50, ["c"]],
    ]);
  });

  it("do not pull in ever more of a long row", () =>
    expect(
      clusters(...[0, 6, 12, 18, 24].map((at) => deployed(String(at), at, at))).map(
        ({ deployments }) => deployments.length,
      ),
    ).toEqual([2, 2, 1]));

  it("do not hide that one failed", () => {
    const [found] = clusters(deployed("a", 10, 10), deployed("b", 11, 11, "failed"), deployed("c", 12, null));
    expect(found?.status).toBe("failed");
  });

  it("stay out of sight when they are", () =>
    expect(clusters(deployed("a", -1, -1), deployed("b", 90, 101))).toEqual([]));

  it("are few, however many there are", () =>
    expect(
      clusters(...Array.from({ length: 1_000 }, (_, at) => deployed(String(at), at / 10, at / 10))).length,
    ).toBe(5));
});

it.each<[Deployment["status"][], Deployment["status"]]>([
  [["succeeded", "failed"], "failed"],
  [["failed", "running"], "failed"],
  [["succeeded", "running"], "running"],
  [["running"], "running"],
  [["canceled", "succeeded"], "succeeded"],
  [["canceled"], "canceled"],
])("%j together are %s", (statuses, expected) =>
  expect(statusOf(statuses.map((status, at) => deployed(String(at), at, at, status)))).toBe(expected),
);

it("finds the nearest to the pointer, and none where none is near", () => {
  const found = clusters(deployed("a", 10, 10), deployed("b", 24, 24));
  expect(nearest(found, 18, 8)?.x).toBe(24);
  expect(nearest(found, 16, 8)?.x).toBe(10);
  expect(nearest(found, 50, 8)).toBeNull();
});

it("bands of several are joined, cut at the edges, and left out where nobody sees them", () =>
  expect(
    bandsOf(
      marksOf([
        deployed("a", -20, 10),
        deployed("b", 30, 50),
        deployed("c", 40, 60),
        deployed("d", 70, 71),
        deployed("e", 80, null),
        deployed("f", 90, 140),
      ]),
      xOf,
      { widthPx: 100, leastPx: 2 },
    ),
  ).toEqual([
    { left: 0, right: 10 },
    { left: 30, right: 60 },
    { left: 90, right: 100 },
  ]));
