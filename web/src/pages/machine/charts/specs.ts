/** Which charts a machine has, and how each makes its lines of the series that were sent. Pure. */

import type { Machine, OneSeries, SeriesAnswer, SeriesName } from "@/api/machineTypes";
import { added, combined, of, type Column, type Line } from "@/parts/chart/frame";
import { CAPACITY, CELSIUS, COUNT, FLOW, SHARE, suffixed, unitOf, type Unit } from "@/parts/chart/units";
import { plain } from "@/words/measures";

/** A level worth a line of its own across the drawing. */
export interface Level {
  value: number;
  word: string;
}

export interface ChartView {
  id: string;
  words: string;
  /** Series names that it is made of; it is offered where one of them is sent. */
  names: readonly string[];
  unit: Unit;
  /** Kinds of one whole, piled up. */
  stacked?: boolean;
  lines: (answer: SeriesAnswer) => Line[];
  /** Where the axis ends at least; at the highest value where this gives nothing. */
  top?: (machine: Machine) => number | null;
  /** Where the axis ends at most. */
  ceiling?: number;
  levels?: (machine: Machine) => Level[];
}

export interface ChartSpec {
  id: string;
  title: string;
  views: readonly ChartView[];
}

const COLOURS = [
  "--line-1",
  "--line-2",
  "--line-3",
  "--line-4",
  "--line-5",
  "--line-6",
  "--line-7",
  "--line-8",
] as const;

export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] ?? "--line-1";
}

const NUMBERED = new Intl.Collator(undefined, { numeric: true });

/** A line for each series, named by what tells them apart. */
function each(answer: SeriesAnswer, name: string, called: (attributes: Record<string, string>) => string) {
  return of(answer, name)
    .map((one) => ({ name: called(one.attributes), avg: one.avg, min: one.min, max: one.max }))
    .sort((a, b) => NUMBERED.compare(a.name, b.name))
    .map((line, index) => ({ ...line, colour: colourOf(index) }));
}

/** One line alone: several series of the same thing are added up. */
function sum(
  series: readonly { avg: Column; min: Column; max: Column }[],
  name: string,
  colour: string,
): Line {
  const [only] = series;
  if (series.length === 1 && only !== undefined)
    return { name, colour, avg: only.avg, min: only.min, max: only.max };
  const avg = added(series.map((one) => one.avg));
  // The extremes of several did not come at one time: there is no envelope of their sum.
  return { name, colour, avg, min: avg, max: avg };
}

// ── processor ────────────────────────────────────────────────────────────────────────────────────────

const CPU = "system.cpu.time";
const MODES = [
  ["user", "--line-1"],
  ["system", "--line-3"],
  ["iowait", "--line-4"],
  ["steal", "--line-6"],
  ["nice", "--line-5"],
  ["interrupt", "--line-7"],
  ["softirq", "--line-2"],
  ["irq", "--line-8"],
] as const;
const IDLE = "idle";

/** By mode, of all processors together, in seconds a second; summed up where only single processors are sent. */
function modes(answer: SeriesAnswer): Map<string, Line> {
  const all = of(answer, CPU);
  const together = all.filter((one) => !("cpu.logical_number" in one.attributes));
  const byMode = new Map<string, OneSeries[]>();
  for (const one of together.length > 0 ? together : all) {
    const mode = one.attributes["cpu.mode"] ?? "other";
    byMode.set(mode, [...(byMode.get(mode) ?? []), one]);
  }
  return new Map([...byMode].map(([mode, series]) => [mode, sum(series, mode, "--line-8")]));
}

function cpuTotal(answer: SeriesAnswer): Line[] {
  const all = modes(answer);
  const idle = all.get(IDLE);
  if (idle === undefined) return [];
  const whole = added([...all.values()].map((line) => line.avg));
  const waiting = all.get("iowait")?.avg ?? whole.map(() => 0);
  const busy = (free: Column) =>
    combined([free, waiting, whole], (rest, wait, of) => Math.min(1, Math.max(0, 1 - (rest + wait) / of)));
  const avg = busy(idle.avg);
  // Least idle is most busy. The averages of the other modes stand in for what they were at that moment.
  const beside = (edge: Column, choose: (a: number, b: number) => number) =>
    combined([edge, avg], (value, usual) => choose(value, usual));
  return [
    {
      name: "busy",
      colour: "--line-1",
      avg,
      min: beside(busy(idle.max), Math.min),
      max: beside(busy(idle.min), Math.max),
    },
  ];
}

function cpuModes(answer: SeriesAnswer): Line[] {
  const all = modes(answer);
  const whole = added([...all.values()].map((line) => line.avg));
  const portion = (column: Column) => combined([column, whole], (value, of) => value / of);
  const order: readonly (readonly [string, string])[] = MODES;
  return order.flatMap(([mode, colour]) => {
    const line = all.get(mode);
    if (line === undefined) return [];
    return [{ name: mode, colour, avg: portion(line.avg), min: portion(line.min), max: portion(line.max) }];
  });
}

function cores(answer: SeriesAnswer): Line[] {
  const busy = (column: Column) => combined([column], (idle) => Math.min(1, Math.max(0, 1 - idle)));
  return of(answer, CPU, { "cpu.mode": IDLE })
    .filter((one) => "cpu.logical_number" in one.attributes)
    .sort((a, b) =>
      NUMBERED.compare(a.attributes["cpu.logical_number"] ?? "", b.attributes["cpu.logical_number"] ?? ""),
    )
    .map((one, index) => ({
      name: `core ${(one.attributes["cpu.logical_number"] ?? "").replace(/^cpu/, "")}`,
      colour: colourOf(index),
      avg: busy(one.avg),
      min: busy(one.max),
      max: busy(one.min),
    }));
}

// ── memory ───────────────────────────────────────────────────────────────────────────────────────────

const MEMORY = "system.memory.usage";
const LIMIT = "system.memory.limit";
const AVAILABLE = "system.linux.memory.available";
const STATE = "system.memory.state";
const PAGING = "system.paging.usage";

function memoryUsed(answer: SeriesAnswer): Line[] {
  const [limit] = of(answer, LIMIT);
  const [available] = of(answer, AVAILABLE);
  if (limit !== undefined && available !== undefined) {
    const used = (column: Column) => combined([limit.avg, column], (all, free) => Math.max(0, all - free));
    return [
      {
        name: "used",
        colour: "--line-1",
        avg: used(available.avg),
        min: used(available.max),
        max: used(available.min),
      },
    ];
  }
  const series = of(answer, MEMORY, { [STATE]: "used" });
  return series.length === 0 ? [] : [sum(series, "used", "--line-1")];
}

const KINDS = [
  ["used", "--line-1"],
  ["buffers", "--line-3"],
  ["buffered", "--line-3"],
  ["cached", "--line-2"],
  ["slab_reclaimable", "--line-5"],
  ["slab_unreclaimable", "--line-4"],
] as const;

function memoryKinds(answer: SeriesAnswer): Line[] {
  const order: readonly (readonly [string, string])[] = KINDS;
  return order.flatMap(([kind, colour]) => {
    const series = of(answer, MEMORY, { [STATE]: kind });
    return series.length === 0 ? [] : [sum(series, kind, colour)];
  });
}

function swapUsed(answer: SeriesAnswer): Line[] {
  const series = of(answer, PAGING, { "system.paging.state": "used" });
  return series.length === 0 ? [] : [sum(series, "used", "--line-1")];
}

// ── disks ────────────────────────────────────────────────────────────────────────────────────────────

const FILESYSTEM = "system.filesystem.usage";
const MOUNT = "system.filesystem.mountpoint";
const FILESYSTEM_STATE = "system.filesystem.state";

function mounts(answer: SeriesAnswer): string[] {
  const names = of(answer, FILESYSTEM, { [FILESYSTEM_STATE]: "used" }).map(
    (one) => one.attributes[MOUNT] ?? "",
  );
  return [...new Set(names)].sort(NUMBERED.compare);
}

/** Used, of what people may use: what is reserved for root is in neither. */
function fullness(answer: SeriesAnswer): Line[] {
  return mounts(answer).flatMap((mount, index) => {
    const [used] = of(answer, FILESYSTEM, { [MOUNT]: mount, [FILESYSTEM_STATE]: "used" });
    const [free] = of(answer, FILESYSTEM, { [MOUNT]: mount, [FILESYSTEM_STATE]: "free" });
    if (used === undefined || free === undefined) return [];
    const full = (one: Column, other: Column) => combined([one, other], (a, b) => a / (a + b));
    return [
      {
        name: mount,
        colour: colourOf(index),
        avg: full(used.avg, free.avg),
        min: full(used.min, free.max),
        max: full(used.max, free.min),
      },
    ];
  });
}

function filesystemBytes(answer: SeriesAnswer): Line[] {
  return mounts(answer).map((mount, index) =>
    sum(of(answer, FILESYSTEM, { [MOUNT]: mount, [FILESYSTEM_STATE]: "used" }), mount, colourOf(index)),
  );
}

const device = (attributes: Record<string, string>) => attributes["system.device"] ?? "?";
const interfaceOf = (attributes: Record<string, string>) => attributes["network.interface.name"] ?? "?";
const directed =
  (who: (attributes: Record<string, string>) => string, key: string) =>
  (attributes: Record<string, string>) =>
    `${who(attributes)} ${attributes[key] ?? ""}`.trim();
const disk = directed(device, "disk.io.direction");
const network = directed(interfaceOf, "network.io.direction");

// ── all of them ──────────────────────────────────────────────────────────────────────────────────────

const band = (rule: "cpu" | "memory" | "disk", of: (machine: Machine) => number | null = () => 1) =>
  ((machine: Machine) => {
    const set = machine.bands[rule] ?? null;
    const whole = of(machine);
    if (set === null || whole === null) return [];
    return [
      { value: set.warn, word: "degraded" },
      { value: set.critical, word: "down" },
    ].flatMap(({ value, word }) => (value === null ? [] : [{ value: value * whole, word }]));
  }) satisfies ChartView["levels"];

const memoryOf = (machine: Machine) => machine.current.memory_bytes;

export const CHARTS: readonly ChartSpec[] = [
  {
    id: "cpu",
    title: "CPU",
    views: [
      {
        id: "total",
        words: "Total",
        names: [CPU],
        unit: SHARE,
        lines: cpuTotal,
        top: () => 0.1,
        ceiling: 1,
        levels: band("cpu"),
      },
      {
        id: "modes",
        words: "By mode",
        names: [CPU],
        unit: SHARE,
        stacked: true,
        lines: cpuModes,
        top: () => 0.1,
        ceiling: 1,
      },
      { id: "cores", words: "Per core", names: [CPU], unit: SHARE, lines: cores, top: () => 0.1, ceiling: 1 },
    ],
  },
  {
    id: "memory",
    title: "Memory",
    views: [
      {
        id: "used",
        words: "Used",
        names: [LIMIT, AVAILABLE, MEMORY],
        unit: CAPACITY,
        lines: memoryUsed,
        top: memoryOf,
        levels: band("memory", memoryOf),
      },
      {
        id: "kinds",
        words: "By kind",
        names: [MEMORY],
        unit: CAPACITY,
        stacked: true,
        lines: memoryKinds,
        top: memoryOf,
      },
    ],
  },
  {
    id: "load",
    title: "Load",
    views: [
      {
        id: "load",
        words: "Load",
        names: ["system.cpu.load_average.1m", "system.cpu.load_average.5m", "system.cpu.load_average.15m"],
        unit: COUNT,
        lines: (answer) =>
          (
            [
              ["1m", "1 min", "--line-1"],
              ["5m", "5 min", "--line-2"],
              ["15m", "15 min", "--line-8"],
            ] as const
          ).flatMap(([suffix, name, colour]) => {
            const series = of(answer, `system.cpu.load_average.${suffix}`);
            return series.length === 0 ? [] : [sum(series, name, colour)];
          }),
        levels: ({ current }) =>
          current.cores === null
            ? []
            : [
                {
                  value: current.cores,
                  word: `${plain(current.cores)} core${current.cores === 1 ? "" : "s"}`,
                },
              ],
      },
    ],
  },
  {
    id: "network",
    title: "Network",
    views: [
      {
        id: "traffic",
        words: "Traffic",
        names: ["system.network.io"],
        unit: FLOW,
        lines: (answer) => each(answer, "system.network.io", network),
      },
      {
        id: "errors",
        words: "Errors",
        names: ["system.network.errors"],
        unit: suffixed("/s"),
        lines: (answer) => each(answer, "system.network.errors", network),
      },
      {
        id: "dropped",
        words: "Dropped",
        names: ["system.network.packet.dropped"],
        unit: suffixed("/s"),
        lines: (answer) => each(answer, "system.network.packet.dropped", network),
      },
    ],
  },
  {
    id: "filesystems",
    title: "Filesystems",
    views: [
      {
        id: "share",
        words: "Full",
        names: [FILESYSTEM],
        unit: SHARE,
        lines: fullness,
        top: () => 1,
        ceiling: 1,
        levels: band("disk"),
      },
      { id: "bytes", words: "Used", names: [FILESYSTEM], unit: CAPACITY, lines: filesystemBytes },
    ],
  },
  {
    id: "disks",
    title: "Disk I/O",
    views: [
      {
        id: "bytes",
        words: "Bytes",
        names: ["system.disk.io"],
        unit: FLOW,
        lines: (answer) => each(answer, "system.disk.io", disk),
      },
      {
        id: "operations",
        words: "Operations",
        names: ["system.disk.operations"],
        unit: suffixed("/s"),
        lines: (answer) => each(answer, "system.disk.operations", disk),
      },
      {
        id: "busy",
        words: "Busy",
        names: ["system.disk.io_time"],
        unit: SHARE,
        lines: (answer) => each(answer, "system.disk.io_time", device),
        top: () => 0.1,
      },
    ],
  },
  {
    id: "swap",
    title: "Swap",
    views: [
      { id: "used", words: "Used", names: [PAGING], unit: CAPACITY, lines: swapUsed, top: () => 1_024 ** 2 },
    ],
  },
  {
    id: "temperature",
    title: "Temperature",
    views: [
      {
        id: "temperature",
        words: "Temperature",
        names: ["hw.temperature"],
        unit: CELSIUS,
        lines: (answer) => each(answer, "hw.temperature", (attributes) => attributes["hw.id"] ?? "sensor"),
      },
    ],
  },
  {
    id: "fans",
    title: "Fans",
    views: [
      {
        id: "fans",
        words: "Fans",
        names: ["hw.fan.speed"],
        unit: suffixed("rpm"),
        lines: (answer) => each(answer, "hw.fan.speed", (attributes) => attributes["hw.id"] ?? "fan"),
      },
    ],
  },
  {
    id: "processes",
    title: "Process count",
    views: [
      {
        id: "count",
        words: "Count",
        names: ["system.process.count"],
        unit: COUNT,
        lines: (answer) =>
          each(answer, "system.process.count", (attributes) => attributes["process.state"] ?? "all"),
      },
    ],
  },
];

/** Known, and drawn elsewhere or nowhere: what is constant has no curve. */
const NO_CURVE = new Set(["system.cpu.logical.count", "system.uptime", LIMIT, AVAILABLE]);

/** The charts that there is something for: those known here, then one for each name that nobody knows. */
export function chartsOf(sent: readonly SeriesName[]): ChartSpec[] {
  const names = new Set(sent.map((one) => one.name));
  const known = CHARTS.flatMap((chart) => {
    const views = chart.views.filter((view) => view.names.some((name) => names.has(name)));
    return views.length === 0 ? [] : [{ ...chart, views }];
  });
  const drawn = new Set(CHARTS.flatMap((chart) => chart.views.flatMap((view) => view.names)));
  const others = [...names].filter((name) => !drawn.has(name) && !NO_CURVE.has(name)).sort();
  return [
    ...known,
    ...others.map((name) => otherChart(name, sent.find((one) => one.name === name)?.unit ?? "")),
  ];
}

function otherChart(name: string, ucum: string): ChartSpec {
  const called = (attributes: Record<string, string>) => Object.values(attributes).join(" ") || name;
  return {
    id: name,
    title: name,
    views: [
      {
        id: name,
        words: name,
        names: [name],
        unit: unitOf(ucum),
        lines: (answer) => each(answer, name, called),
      },
    ],
  };
}
