/** Numbers as people read them. Pure. A percentage is cut, never rounded: 99.9996 must not become 100.
 *  A number and its unit stay on one line. */

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A ratio as a percentage, finer the nearer it comes to 100; null is "no data". */
export function percent(ratio: number | null): string {
  if (ratio === null) return "no data";
  // The product of a ratio and 100 can fall a hair short of the decimal it stands for (0.9998 * 100 = 99.97999…).
  const parts = Math.floor(ratio * 100_000 + 1e-6);
  const coarse = parts >= 99_900 ? 1 : parts >= 99_000 ? 10 : 100;
  return `${(Math.floor(parts / coarse) * coarse) / 1_000}\u00a0%`;
}

/** Milliseconds: "0.8 ms", "42 ms", "1.24 s"; null is a dash. */
export function latency(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms > 0 && ms < 0.05) return "<0.1\u00a0ms";
  if (ms < 10) return `${trimmed(ms, 1)}\u00a0ms`;
  if (ms < 1_000) return `${Math.round(ms)}\u00a0ms`;
  if (ms < 10_000) return `${trimmed(ms / 1_000, 2)}\u00a0s`;
  return `${trimmed(ms / 1_000, 1)}\u00a0s`;
}

export function count(number: number): string {
  return GROUPED.format(number);
}

/** "1 check", "2 checks". */
export function counted(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function bytes(size: number): string {
  if (size < 1_000) return `${size}\u00a0B`;
  if (size < 1_000_000) return `${trimmed(size / 1_000, 1)}\u00a0kB`;
  return `${trimmed(size / 1_000_000, 1)}\u00a0MB`;
}

function trimmed(value: number, decimals: number): string {
  return String(Number(value.toFixed(decimals)));
}
