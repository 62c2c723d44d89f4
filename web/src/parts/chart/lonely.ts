/** Which points of a line stand alone. Pure. */

/** Points with no neighbour: a line cannot show them, so they are drawn as dots. */
export function lonely(values: readonly (number | null | undefined)[]): number[] {
  const found: number[] = [];
  values.forEach((value, index) => {
    const before = values[index - 1] ?? null;
    const after = values[index + 1] ?? null;
    if (value !== null && value !== undefined && before === null && after === null) found.push(index);
  });
  return found;
}
