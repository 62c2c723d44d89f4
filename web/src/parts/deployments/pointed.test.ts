/** With a real uPlot, of which only the drawing goes nowhere: what it tells when it draws again is the point. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type uPlot from "uplot";
import { exampleDeployment } from "@/api/examples";
import type { Current } from "@/parts/chart/linePlot";
import { COUNT } from "@/parts/chart/units";
import { marksOf, type Mark } from "./marks";

beforeEach(() => {
  const anything: object = new Proxy(() => undefined, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => 0 : anything),
    set: () => true,
    apply: () => anything,
  });
  for (const name of ["window", "document", "matchMedia"]) vi.stubGlobal(name, anything);
  for (const name of ["HTMLElement", "Path2D"])
    vi.stubGlobal(
      name,
      vi.fn(function () {
        return anything;
      }),
    );
  vi.stubGlobal("navigator", { language: "en" });
  vi.stubGlobal("devicePixelRatio", 1);
});

afterEach(() => vi.unstubAllGlobals());

const AT_S = 50;
const DATA: uPlot.AlignedData = [
  [0, AT_S, 100],
  [1, 1, 1],
  [1, 1, 1],
  [1, 1, 1],
];

function running(): Mark[] {
  return marksOf([
    exampleDeployment({ id: "a", status: "running", started_at: stamp(AT_S), finished_at: null }),
  ]);
}

function finished(atS: number): Mark[] {
  return marksOf([exampleDeployment({ id: "a", started_at: stamp(AT_S), finished_at: stamp(atS) })]);
}

function stamp(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}

/** A chart with the pointer on the running deployment, and what is near it by now. */
async function pointing() {
  const { default: UPlot } = await import("uplot");
  const { linePlot } = await import("@/parts/chart/linePlot");
  let current: Current = {
    range: { fromS: 0, toS: 100 },
    stretches: [],
    deployments: running(),
    levels: [],
    top: null,
  };
  let near: readonly string[] = ["of a chart before this one"];
  const options = linePlot({
    lines: [{ name: "load", colour: "--line-1", avg: [], min: [], max: [] }],
    stacked: false,
    unit: COUNT,
    ceiling: null,
    colour: () => "#000",
    current: () => current,
    group: "machine",
    onZoom: () => undefined,
    onReset: () => undefined,
    onCursor: () => undefined,
    onNear: (deployments) => {
      near = deployments.map(({ status }) => status);
    },
  });
  const plot = new UPlot({ ...options, width: 500, height: 200 }, DATA, (_plot, init) =>
    (init as () => void)(),
  );
  await Promise.resolve();
  const nearWhenMade = near;
  plot.setCursor({ left: plot.valToPos(AT_S, "x"), top: 10 });
  return {
    nearWhenMade,
    near: () => near,
    drawAgain: async (changes: Partial<Current>) => {
      current = { ...current, ...changes };
      plot.setData(DATA);
      await Promise.resolve();
    },
  };
}

it("is nothing in a chart that was just made", async () =>
  expect((await pointing()).nearWhenMade).toEqual([]));

it("is as it stands by now, although the pointer rests", async () => {
  const { near, drawAgain } = await pointing();
  expect(near()).toEqual(["running"]);
  await drawAgain({ deployments: finished(AT_S) });
  expect(near()).toEqual(["succeeded"]);
});

it.each<[string, Partial<Current>]>([
  ["its mark moved away", { deployments: finished(90) }],
  ["it is there no more", { deployments: [] }],
  ["another window is in sight", { range: { fromS: 60, toS: 70 } }],
])("is nothing once %s, although the pointer rests", async (_, changes) => {
  const { near, drawAgain } = await pointing();
  await drawAgain(changes);
  expect(near()).toEqual([]);
});
