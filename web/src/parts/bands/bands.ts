/** Bands between the API and a form: what is empty is as usual, what is off is not judged. Pure. */

import type { OwnBands, RuleName } from "@/api/machineTypes";

interface FieldSpec {
  name: string;
  words: string;
  /** How many of the form's units are one of the API's. */
  factor: number;
  suffix: string;
}

type Kind = "share" | "hours" | "silence";

export interface RuleSpec {
  name: RuleName;
  words: string;
  help: string;
  kind: Kind;
}

export const RULES: readonly RuleSpec[] = [
  { name: "cpu", words: "CPU", help: "All processors together.", kind: "share" },
  { name: "memory", words: "Memory", help: "What is not available.", kind: "share" },
  { name: "disk", words: "Disk", help: "The fullest filesystem.", kind: "share" },
  {
    name: "forecast",
    words: "Disk space",
    help: "Hours until the first filesystem is full, should it go on like this.",
    kind: "hours",
  },
  { name: "reporting", words: "Silence", help: "Nothing is heard of it any more.", kind: "silence" },
];

const LASTING: FieldSpec = { name: "for_s", words: "For", factor: 1, suffix: "s" };

function thresholds(factor: number, suffix: string): FieldSpec[] {
  return [
    { name: "warn", words: "Degraded", factor, suffix },
    { name: "warn_recovery", words: "until", factor, suffix },
    { name: "critical", words: "Down", factor, suffix },
    { name: "critical_recovery", words: "until", factor, suffix },
    LASTING,
  ];
}

export const FIELDS: Record<Kind, readonly FieldSpec[]> = {
  share: thresholds(100, "%"),
  hours: thresholds(1, "h"),
  silence: [{ name: "silent_after_s", words: "Down after", factor: 1, suffix: "s" }],
};

export interface RuleDraft {
  judged: boolean;
  values: Readonly<Record<string, number>>;
}

export type Draft = Partial<Record<RuleName, RuleDraft>>;

export function draftOf(own: OwnBands): Draft {
  const draft: Draft = {};
  for (const { name } of RULES) {
    if (!(name in own)) continue;
    const band = own[name];
    const values = Object.entries(band ?? {}).filter((entry): entry is [string, number] =>
      Number.isFinite(entry[1]),
    );
    draft[name] = { judged: band !== null, values: Object.fromEntries(values) };
  }
  return draft;
}

/** Only what differs from the usual. */
export function bandsOf(draft: Draft): OwnBands {
  const bands: Partial<Record<RuleName, Record<string, number> | null>> = {};
  for (const { name } of RULES) {
    const rule = draft[name];
    if (rule === undefined) continue;
    if (!rule.judged) bands[name] = null;
    else if (Object.keys(rule.values).length > 0) bands[name] = { ...rule.values };
  }
  return bands;
}

/** Whether the form has a field of this name, as `cpu.warn`. */
export function hasField(name: string): boolean {
  return RULES.some((rule) => FIELDS[rule.kind].some((field) => name === `${rule.name}.${field.name}`));
}

/** In a line: `CPU degraded from 70 %, down from 90 %; Disk space is not judged`. */
export function briefly(own: OwnBands): string {
  const draft = draftOf(own);
  const parts = RULES.flatMap(({ name, words, kind }) => {
    const rule = draft[name];
    if (rule === undefined) return [];
    if (!rule.judged) return [`${words} is not judged`];
    const said = FIELDS[kind].flatMap(({ name: field, words: label, factor, suffix }) => {
      const value = rule.values[field];
      if (value === undefined || field.endsWith("_recovery")) return [];
      return [`${label.toLowerCase()}${FROM[field] ?? ""} ${Number((value * factor).toFixed(3))} ${suffix}`];
    });
    return [said.length === 0 ? `${words}: recovery only` : `${words} ${said.join(", ")}`];
  });
  return parts.length === 0 ? "As usual" : parts.join("; ");
}

const FROM: Readonly<Record<string, string>> = { warn: " from", critical: " from" };
