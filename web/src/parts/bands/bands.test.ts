import { describe, expect, it } from "vitest";
import { bandsOf, briefly, draftOf, hasField } from "./bands";

describe("bands in a form", () => {
  it("say only what differs", () => {
    const own = { cpu: { warn: 0.9 }, forecast: null };
    expect(bandsOf(draftOf(own))).toEqual(own);
  });
  it("that are empty are as usual", () => expect(bandsOf({ cpu: { judged: true, values: {} } })).toEqual({}));
  it("are told in a line", () => {
    expect(briefly({})).toBe("As usual");
    expect(briefly({ cpu: { warn: 0.7, critical: 0.9, for_s: 60 }, forecast: null })).toBe(
      "CPU degraded from 70 %, down from 90 %, for 60 s; Disk space is not judged",
    );
    expect(briefly({ reporting: { silent_after_s: 120 }, memory: { warn_recovery: 0.5 } })).toBe(
      "Memory: recovery only; Silence down after 120 s",
    );
  });
  it("know their fields", () => {
    expect(hasField("cpu.warn")).toBe(true);
    expect(hasField("reporting.warn")).toBe(false);
  });
});
