import { expect, it } from "vitest";
import { capacity, celsius, flow, hoursLeft, plain, share } from "./measures";

const read = (words: string) => words.replaceAll("\u00a0", " ");

it.each([
  [0, "0 %"],
  [0.0004, "<0.1 %"],
  [0.043, "4.3 %"],
  [0.434, "43 %"],
  [0.99, "99 %"],
  [0.9996, "99.9 %"],
  [1, "100 %"],
  [1.5, "150 %"],
  [null, "–"],
  [Number.NaN, "–"],
])("a share of %s is %s", (ratio, said) => expect(read(share(ratio))).toBe(said));

it("never says that something is full that is not", () => {
  for (let left = 0.04; left > 1e-9; left /= 3) {
    expect(Number.parseFloat(share(1 - left))).toBeLessThan(100);
  }
});

it.each([
  [0, "0 B"],
  [1_023.7, "1 KiB"],
  [1_536, "1.5 KiB"],
  [16_777_216_000, "15.6 GiB"],
  [3 * 1_024 ** 4, "3 TiB"],
  [null, "–"],
])("%s bytes are %s", (bytes, said) => expect(read(capacity(bytes))).toBe(said));

it.each([
  [0, "0 B/s"],
  [0.2, "<1 B/s"],
  [999, "999 B/s"],
  [999.8, "1 kB/s"],
  [1_254_000, "1.25 MB/s"],
  [undefined, "–"],
])("%s bytes a second are %s", (rate, said) => expect(read(flow(rate))).toBe(said));

it.each([
  [0.4, "24 min"],
  [3.9, "3 h"],
  [50, "2 d"],
  [null, "–"],
])("%s hours are %s", (hours, said) => expect(read(hoursLeft(hours))).toBe(said));

it("says degrees and plain numbers", () => {
  expect(read(celsius(61.6))).toBe("62 °C");
  expect(plain(0.456)).toBe("0.46");
  expect(read(plain(12_345))).toBe("12.3 k");
});
