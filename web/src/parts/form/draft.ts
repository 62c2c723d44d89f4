/** What somebody has changed in a form, and what is wrong with it: by our own rules at once, by the server's after asking. */

import { useMemo, useState } from "react";
import { problemFrom, type FieldError } from "@/api/client";
import { wrong, type FieldSpec } from "./spec";

export type Values = Record<string, unknown>;

/** Rules between fields; gives the message of each field they find wrong. */
export type CrossRules = (values: Values) => Record<string, string>;

export interface Draft {
  /** Only what was changed. */
  changed: Values;
  value: (name: string) => unknown;
  set: (name: string, value: unknown) => void;
  reset: (values?: Values) => void;
  /** The message to show at a field, or null. */
  error: (name: string) => string | null;
  /** Of a field such as `assert.0`: everything the server said of it. */
  serverErrors: readonly FieldError[];
  /** What the server said that belongs to no field shown, or of no field at all. */
  general: string | null;
  /** Whether it may be sent; from then on everything missing is shown. */
  ready: () => boolean;
  refuse: (error: unknown) => void;
}

interface Options {
  specs: readonly FieldSpec[];
  /** What each field is before anything is changed. */
  base: Values;
  initial?: Values;
  rules?: CrossRules;
}

const NO_RULES: CrossRules = () => ({});

export function useDraft({ specs, base, initial = {}, rules = NO_RULES }: Options): Draft {
  const [changed, setChanged] = useState<Values>(initial);
  const [asked, setAsked] = useState(false);
  const [serverErrors, setServerErrors] = useState<readonly FieldError[]>([]);
  const [general, setGeneral] = useState<string | null>(null);

  const specByName = useMemo(() => new Map(specs.map((spec) => [spec.name, spec])), [specs]);
  const value = (name: string): unknown =>
    name in changed ? changed[name] : (base[name] ?? specByName.get(name)?.initial ?? null);

  const crossed = rules(Object.fromEntries(specs.map((spec) => [spec.name, value(spec.name)])));
  const ours = (spec: FieldSpec): string | null =>
    spec.control === "secret" && !(spec.name in changed) && base.id !== undefined
      ? null
      : (wrong(spec, value(spec.name)) ?? crossed[spec.name] ?? null);

  return {
    changed,
    value,
    set: (name, next) => {
      setChanged((before) => ({ ...before, [name]: next }));
      setServerErrors((before) => before.filter((error) => topOf(error.field) !== name));
      setGeneral(null);
    },
    reset: (values = {}) => {
      setChanged(values);
      setServerErrors([]);
      setGeneral(null);
      setAsked(false);
    },
    error: (name) => {
      const spec = specByName.get(name);
      const own = spec === undefined || !(asked || name in changed) ? null : ours(spec);
      return own ?? serverErrors.find((error) => error.field === name)?.message ?? null;
    },
    serverErrors,
    general,
    ready: () => {
      setAsked(true);
      return specs.every((spec) => ours(spec) === null);
    },
    refuse: (error) => {
      const problem = problemFrom(error);
      setServerErrors(problem.fields);
      const homeless = problem.fields.filter((each) => !specByName.has(topOf(each.field)));
      const words = homeless.map((each) =>
        each.field === "" ? each.message : `${each.field}: ${each.message}`,
      );
      setGeneral(problem.fields.length === 0 ? problem.message : words.length > 0 ? words.join("\n") : null);
    },
  };
}

function topOf(field: string): string {
  return field.split(".")[0] ?? "";
}
