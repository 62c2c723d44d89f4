import { describe, expect, it } from "vitest";
import { defaultWindow, sightFrom, withWindow, withZoom } from "./windows";

const OLD = { bornMs: 0, intervalMs: 60_000 };
const NOW = Date.parse("2026-03-02T00:00:00.000Z");

it("ends a window now", () => {
  const sight = sightFrom(new URLSearchParams("window=7d"), "24h", OLD);
  expect(sight.window?.words).toBe("7 d");
  expect(sight.rangeAt(NOW)).toEqual({ from: "2026-02-23T00:00:00.000Z", to: "2026-03-02T00:00:00.000Z" });
});

it("stands still when zoomed", () => {
  const sight = sightFrom(withZoom(new URLSearchParams("window=7d"), NOW - 1_000, NOW), "24h", OLD);
  expect(sight.window).toBeNull();
  expect(sight.rangeAt(NOW + 5_000)).toEqual({
    from: "2026-03-01T23:59:59.000Z",
    to: "2026-03-02T00:00:00.000Z",
  });
});

it("goes back to a window, and keeps what else the address says", () => {
  const zoomed = withZoom(new URLSearchParams("check=5"), NOW - 1_000, NOW);
  expect(withWindow(zoomed, "1h").toString()).toBe("check=5&window=1h");
});

it.each(["window=nonsense", "from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "from=x&to=y"])(
  "shows a day when the address says %s",
  (query) => expect(sightFrom(new URLSearchParams(query), "24h", OLD).window?.name).toBe("24h"),
);

it("shows less of a younger target", () => {
  expect(defaultWindow(60_000)).toBe("1h");
  expect(defaultWindow(3 * 3_600_000)).toBe("6h");
  expect(defaultWindow(90 * 86_400_000)).toBe("24h");
});

describe("of a young target", () => {
  const spanS = (bornMs: number, intervalMs: number, name: string) => {
    const { rangeAt } = sightFrom(new URLSearchParams({ window: name }), "24h", { bornMs, intervalMs });
    const { from, to } = rangeAt(NOW);
    return (Date.parse(to) - Date.parse(from)) / 1_000;
  };

  it("a window begins with it", () => expect(spanS(NOW - 1_800_000, 5_000, "1h")).toBe(1_800));
  it("a longer one too", () => expect(spanS(NOW - 1_800_000, 5_000, "1y")).toBe(1_800));
  it("there is room for some checks", () => expect(spanS(NOW - 10_000, 60_000, "1h")).toBe(720));
  it("there is never more than was asked for", () =>
    expect(spanS(NOW - 10_000, 1_800_000, "1h")).toBe(3_600));
  it("an old one is seen whole", () => expect(spanS(NOW - 7_200_000, 60_000, "1h")).toBe(3_600));
});
