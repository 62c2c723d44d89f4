/** Times and durations as people say them; a number and its unit stay on one line. Pure. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "4 s", "12 min", "2 h 14 min", "3 d 4 h": two units at most, the second only where it tells something. */
export function duration(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < SECOND) return "0\u00a0s";
  if (whole < MINUTE) return `${Math.floor(whole / SECOND)}\u00a0s`;
  if (whole < 5 * MINUTE) return two(whole, MINUTE, "min", SECOND, "s");
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)}\u00a0min`;
  if (whole < DAY) return two(whole, HOUR, "h", MINUTE, "min");
  if (whole < 14 * DAY) return two(whole, DAY, "d", HOUR, "h");
  return `${Math.floor(whole / DAY)}\u00a0d`;
}

function two(ms: number, big: number, bigUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((ms % big) / small);
  const first = `${Math.floor(ms / big)}\u00a0${bigUnit}`;
  return rest === 0 ? first : `${first}\u00a0${rest}\u00a0${smallUnit}`;
}

/** One unit only, for narrow columns: "4 s", "12 min", "2 h", "3 d". */
export function roughDuration(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < MINUTE) return `${Math.floor(whole / SECOND)}\u00a0s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)}\u00a0min`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)}\u00a0h`;
  return `${Math.floor(whole / DAY)}\u00a0d`;
}

export function ago(atMs: number, nowMs: number): string {
  const passed = nowMs - atMs;
  if (passed < -2 * SECOND) return `in ${roughDuration(-passed)}`;
  if (passed < 2 * SECOND) return "now";
  return `${roughDuration(passed)} ago`;
}

const EXACT = new Intl.DateTimeFormat(undefined, {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});

/** The exact time in the reader's zone. */
export function exact(atMs: number): string {
  return EXACT.format(atMs);
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const DAY_MONTH = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY_MONTH_YEAR = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  year: "numeric",
});

/** The clock today, the day and the clock before. */
export function moment(atMs: number, nowMs: number, { seconds = false } = {}): string {
  const clock = (seconds ? CLOCK_SECONDS : CLOCK).format(atMs);
  const at = new Date(atMs);
  const now = new Date(nowMs);
  if (at.toDateString() === now.toDateString()) return clock;
  return `${DAY_MONTH.format(at)}, ${clock}`;
}

export function day(atMs: number): string {
  return DAY_MONTH_YEAR.format(atMs);
}

/** Seconds in a form field's words: "20 s", "5 min", "1 h 30 min". */
export function seconds(count: number): string {
  return Number.isInteger(count) || count >= 60 ? duration(count * SECOND) : `${count}\u00a0s`;
}
