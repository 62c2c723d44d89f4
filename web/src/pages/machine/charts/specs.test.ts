import { describe, expect, it } from "vitest";
import { exampleAnswer, exampleMachine, exampleSeries, NOTHING, UNJUDGED } from "@/api/machineExamples";
import type { OneSeries } from "@/api/machineTypes";
import { CHARTS, chartsOf } from "./specs";
import { stepFor } from "./step";

function view(chart: string, id: string) {
  const found = CHARTS.find((each) => each.id === chart)?.views.find((each) => each.id === id);
  if (found === undefined) throw new RangeError(`${chart} has no ${id}`);
  return found;
}

function lines(chart: string, id: string, series: OneSeries[]) {
  return view(chart, id).lines(exampleAnswer(5, series));
}

const cpu = (mode: string, values: number[], core?: string) =>
  exampleSeries(
    "system.cpu.time",
    { "cpu.mode": mode, ...(core === undefined ? {} : { "cpu.logical_number": core }) },
    values,
  );

describe("CPU", () => {
  const together = [cpu("user", [1, 0]), cpu("idle", [2, 4]), cpu("iowait", [1, 0])];

  it("is busy where it neither idles nor waits, of all processors", () =>
    expect(lines("cpu", "total", together)[0]?.avg).toEqual([0.25, 0]));

  it("has an envelope: least idle is most busy", () => {
    const idle = { ...cpu("idle", [2]), min: [1], max: [3] };
    const [busy] = lines("cpu", "total", [cpu("user", [2]), idle]);
    expect([busy?.min, busy?.avg, busy?.max]).toEqual([[0.25], [0.5], [0.75]]);
  });

  it("is piled up by mode, without what is idle", () =>
    expect(lines("cpu", "modes", together).map(({ name, avg }) => [name, avg])).toEqual([
      ["user", [0.25, 0]],
      ["iowait", [0.25, 0]],
    ]));

  it("is summed up where only single processors are sent", () => {
    const single = ["cpu0", "cpu1"].flatMap((core) => [cpu("user", [0.5], core), cpu("idle", [0.5], core)]);
    expect(lines("cpu", "total", single)[0]?.avg).toEqual([0.5]);
  });

  it("counts cores as people do", () => {
    const cores = ["10", "2"].map((core) => cpu("idle", [0.9], core));
    expect(lines("cpu", "cores", cores).map(({ name }) => name)).toEqual(["core 2", "core 10"]);
  });
});

it("memory is what is not available", () => {
  const [used] = lines("memory", "used", [
    exampleSeries("system.memory.limit", {}, [100, 100]),
    exampleSeries("system.linux.memory.available", {}, [60, 25]),
  ]);
  expect(used?.avg).toEqual([40, 75]);
});

it("a filesystem is full of what people may use", () => {
  const usage = (state: string, value: number) =>
    exampleSeries(
      "system.filesystem.usage",
      { "system.filesystem.mountpoint": "/var", "system.filesystem.state": state },
      [value],
    );
  const [full] = lines("filesystems", "share", [usage("used", 30), usage("free", 60), usage("reserved", 10)]);
  expect(full?.name).toBe("/var");
  expect(full?.avg[0]).toBeCloseTo(1 / 3);
});

it("levels are where the machine's bands are", () => {
  const band = { warn: 0.85, critical: null, warn_recovery: null, critical_recovery: null, for_s: 60 };
  const machine = exampleMachine({
    id: 1,
    bands: { ...UNJUDGED, memory: band },
    current: { ...NOTHING, memory_bytes: 1_000 },
  });
  expect(view("memory", "used").levels?.(machine)).toEqual([{ value: 850, word: "degraded" }]);
  expect(view("cpu", "total").levels?.(machine)).toEqual([]);
});

it("offers what is sent, and a chart for a name that nobody knows", () => {
  const sent = ["system.cpu.time", "system.uptime", "nginx.requests"].map((name) => ({
    name,
    attributes: {},
    unit: "1",
  }));
  expect(chartsOf(sent).map(({ id }) => id)).toEqual(["cpu", "nginx.requests"]);
  expect(chartsOf([])).toEqual([]);
});

it.each([
  [3_600_000, 5, 10],
  [3_600_000, 60, 60],
  [86_400_000, 5, 300],
  [90 * 86_400_000, 5, 21_600],
])("over %s ms a machine that reports every %s s has a point each %s s", (span, every, step) =>
  expect(stepFor(span, every)).toBe(step),
);
