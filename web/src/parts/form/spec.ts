/** A JSON Schema read as fields of a form. Pure. */

import type { JsonSchema } from "@/api/types";
import { HELP, LABELS, LONG } from "./labels";

export type Control =
  "text" | "long" | "secret" | "integer" | "number" | "switch" | "choice" | "list" | "pairs";

export interface FieldSpec {
  name: string;
  label: string;
  help: string;
  control: Control;
  required: boolean;
  /** Emptied, it is sent as null. */
  nullable: boolean;
  initial: unknown;
  example: string;
  choices: readonly string[];
  min: number | null;
  max: number | null;
  maxLength: number | null;
}

export function fieldsOf(schema: JsonSchema): FieldSpec[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {})
    .filter(([, property]) => property.const === undefined)
    .map(([name, property]) => specOf(name, property, schema, required.has(name)));
}

function specOf(name: string, property: JsonSchema, root: JsonSchema, required: boolean): FieldSpec {
  const options = (property.anyOf ?? []).map((each) => resolved(each, root));
  const nullable = options.some((each) => each.type === "null");
  const core = {
    ...resolved(options.find((each) => each.type !== "null") ?? property, root),
    ...own(property),
  };
  return {
    name,
    label: LABELS[name] ?? spelled(name),
    help: HELP[name] ?? property.description ?? core.description ?? "",
    control: controlOf(name, core),
    required,
    nullable,
    initial: property.default ?? (core.type === "array" ? [] : core.type === "object" ? {} : null),
    example: exampleOf(property.examples?.[0] ?? core.examples?.[0]),
    choices: (core.enum ?? []).filter((each) => each !== null).map(String),
    min: core.minimum ?? core.exclusiveMinimum ?? null,
    max: core.maximum ?? core.exclusiveMaximum ?? null,
    maxLength: core.maxLength ?? null,
  };
}

function own(property: JsonSchema): JsonSchema {
  const { anyOf, allOf, $ref, ...rest } = property;
  return rest;
}

function resolved(schema: JsonSchema, root: JsonSchema): JsonSchema {
  const inherited = schema.allOf?.[0];
  if (inherited !== undefined) return { ...resolved(inherited, root), ...own(schema) };
  const name = schema.$ref?.replace("#/$defs/", "");
  return name === undefined ? schema : { ...root.$defs?.[name], ...own(schema) };
}

function controlOf(name: string, schema: JsonSchema): Control {
  if (schema.enum !== undefined) return "choice";
  if (schema.format === "password" || schema.writeOnly === true) return "secret";
  switch (schema.type) {
    case "boolean":
      return "switch";
    case "integer":
      return "integer";
    case "number":
      return "number";
    case "array":
      return "list";
    case "object":
      return "pairs";
    default:
      return LONG.has(name) ? "long" : "text";
  }
}

/** `max_body_bytes` as "Max body, bytes". */
function spelled(name: string): string {
  const units: Record<string, string> = { s: "seconds", ms: "milliseconds", bytes: "bytes", days: "days" };
  const words = name.split("_");
  const unit = words.length > 1 ? units[words.at(-1) ?? ""] : undefined;
  const rest = (unit === undefined ? words : words.slice(0, -1)).join(" ");
  const sentence = rest.charAt(0).toUpperCase() + rest.slice(1);
  return unit === undefined ? sentence : `${sentence}, ${unit}`;
}

function exampleOf(example: unknown): string {
  if (typeof example === "string" || typeof example === "number") return String(example);
  if (Array.isArray(example) && typeof example[0] === "string") return example[0];
  return "";
}

/** What is wrong with a value, as far as the schema can say; null when nothing is. */
export function wrong(spec: FieldSpec, value: unknown): string | null {
  const empty =
    value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
  if (empty) {
    if (spec.required) return "is needed";
    const numeric = spec.control === "integer" || spec.control === "number";
    return numeric && !spec.nullable && spec.initial !== null && value !== undefined
      ? "needs a number"
      : null;
  }
  if (typeof value === "number") {
    if (spec.control === "integer" && !Number.isInteger(value)) return "must be a whole number";
    if (spec.min !== null && value < spec.min) return `must be at least ${spec.min}`;
    if (spec.max !== null && value > spec.max) return `must be at most ${spec.max}`;
  }
  if (typeof value === "string" && spec.maxLength !== null && value.length > spec.maxLength) {
    return `must not be longer than ${spec.maxLength} characters`;
  }
  return null;
}
