/** Measures of machines as people read them. Pure. null is a dash; a number and its unit stay on one line. */

const NONE = "–";

type Maybe = number | null | undefined;

function absent(value: Maybe): value is null | undefined {
  return value === null || value === undefined || !Number.isFinite(value);
}

/** Three figures where they tell something, never more: "1.23", "45.6", "789". */
function figures(value: number): string {
  const size = Math.abs(value);
  return String(Number(value.toFixed(size < 10 ? 2 : size < 100 ? 1 : 0)));
}

/** A share of a whole: "43 %", "4.3 %". Cut, never rounded up: 99.6 % must not become 100. */
export function share(ratio: Maybe): string {
  if (absent(ratio)) return NONE;
  const percent = ratio * 100;
  if (percent > 0 && percent < 0.1) return "<0.1\u00a0%";
  const fine = percent < 9.95 || (percent > 99 && percent < 100) ? 10 : 1;
  const cut = percent > 99 ? Math.floor(percent * fine + 1e-9) : Math.round(percent * fine);
  return `${cut / fine}\u00a0%`;
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let size = value;
  let index = 0;
  while (Math.abs(size) >= base && index < units.length - 1) {
    size /= base;
    index += 1;
  }
  // 1,023.7 is shown as 1,024: then it is one of the next.
  if (Math.abs(size) >= base - 0.5 && index < units.length - 1) {
    size /= base;
    index += 1;
  }
  return `${figures(size)}\u00a0${units[index] ?? ""}`;
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;
const RATES = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"] as const;

/** Memory and disks: "15.6 GiB". */
export function capacity(bytes: Maybe): string {
  return absent(bytes) ? NONE : scaled(bytes, 1_024, BINARY);
}

/** What flows: "1.25 MB/s". */
export function flow(bytesPerSecond: Maybe): string {
  if (absent(bytesPerSecond)) return NONE;
  return bytesPerSecond > 0 && bytesPerSecond < 1 ? "<1\u00a0B/s" : scaled(bytesPerSecond, 1_000, RATES);
}

export function celsius(degrees: Maybe): string {
  return absent(degrees) ? NONE : `${Math.round(degrees)}\u00a0°C`;
}

/** A number without a unit: load, counts. */
export function plain(value: Maybe): string {
  if (absent(value)) return NONE;
  return Math.abs(value) >= 10_000 ? scaled(value, 1_000, ["", "k", "M", "G"]) : figures(value);
}

/** Hours until a disk is full: "3 h", "2 d". */
export function hoursLeft(hours: Maybe): string {
  if (absent(hours)) return NONE;
  if (hours < 1) return `${Math.max(0, Math.floor(hours * 60))}\u00a0min`;
  return hours < 48 ? `${Math.floor(hours)}\u00a0h` : `${Math.floor(hours / 24)}\u00a0d`;
}
