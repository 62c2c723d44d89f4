/** The paths of a small line over values between 0 and 1. Pure. */

const STEP = 4;

export interface SparkPaths {
  line: string;
  area: string;
  /** Values without a neighbour, which no line can show. */
  dots: string;
  highest: number | null;
  width: number;
}

/** The scale ends at the highest value or at a tenth, so that an idle machine is a flat line and not a mountain range. */
const LEAST_TOP = 0.1;

export function sparkPaths(values: readonly (number | null)[], height: number): SparkPaths {
  const known = values.filter((value) => value !== null);
  const highest = known.length === 0 ? null : Math.max(...known);
  const top = Math.min(1, Math.max(LEAST_TOP, (highest ?? 0) * 1.15));
  const y = (value: number) => Number((height - 1 - (Math.min(value, top) / top) * (height - 2)).toFixed(2));

  let line = "";
  let area = "";
  let dots = "";
  let run: [number, number][] = [];
  const end = () => {
    const [first, ...rest] = run;
    if (first !== undefined && rest.length === 0) dots += `M${first.join(" ")}h0`;
    else if (first !== undefined) {
      const path = `M${first.join(" ")}${rest.map((point) => `L${point.join(" ")}`).join("")}`;
      line += path;
      area += `${path}V${height - 1}H${first[0]}Z`;
    }
    run = [];
  };
  values.forEach((value, index) => {
    if (value === null) end();
    else run.push([index * STEP, y(value)]);
  });
  end();
  return { line, area, dots, highest, width: Math.max(1, (values.length - 1) * STEP) };
}
