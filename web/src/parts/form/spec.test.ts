import { describe, expect, it } from "vitest";
import { fieldsOf, wrong, type FieldSpec } from "./spec";

const specs = new Map(
  fieldsOf({
    properties: {
      kind: { const: "http", type: "string" },
      url: { type: "string", description: "The address.", maxLength: 10, examples: ["https://a"] },
      body: { type: "string", default: "" },
      method: { $ref: "#/$defs/Method", default: "GET" },
      password: {
        anyOf: [{ type: "string", format: "password", writeOnly: true }, { type: "null" }],
        default: null,
      },
      degraded_above_ms: {
        anyOf: [{ type: "number", exclusiveMinimum: 0 }, { type: "null" }],
        default: null,
      },
      max_body_bytes: { type: "integer", minimum: 0, maximum: 100, default: 5 },
      odd_size_bytes: { type: "integer" },
      headers: { type: "object", additionalProperties: { type: "string" } },
      tags: { type: "array", items: { type: "string" } },
      verify_tls: { type: "boolean", default: true },
    },
    required: ["url", "kind"],
    $defs: { Method: { enum: ["GET", "HEAD"], type: "string" } },
  }).map((spec) => [spec.name, spec]),
);

function of(name: string): FieldSpec {
  const spec = specs.get(name);
  if (spec === undefined) throw new Error(`no field ${name}`);
  return spec;
}

describe("a schema read as a form", () => {
  it.each([
    ["url", "text"],
    ["body", "long"],
    ["method", "choice"],
    ["password", "secret"],
    ["degraded_above_ms", "number"],
    ["max_body_bytes", "integer"],
    ["headers", "pairs"],
    ["tags", "list"],
    ["verify_tls", "switch"],
  ])("draws %s as %s", (name, control) => expect(of(name).control).toBe(control));

  it("leaves out what can only be one thing", () => expect(specs.has("kind")).toBe(false));

  it("reads choices through references, and defaults", () => {
    expect(of("method")).toMatchObject({ choices: ["GET", "HEAD"], initial: "GET" });
    expect(of("headers").initial).toEqual({});
  });

  it("spells names it has no label for", () => expect(of("odd_size_bytes").label).toBe("Odd size, bytes"));
});

describe("what is wrong with a value", () => {
  it.each([
    ["url", "", "is needed"],
    ["url", "https://far.too.long", "must not be longer than 10 characters"],
    ["url", "https://a", null],
    ["max_body_bytes", 101, "must be at most 100"],
    ["max_body_bytes", -1, "must be at least 0"],
    ["max_body_bytes", 1.5, "must be a whole number"],
    ["max_body_bytes", null, "needs a number"],
    ["degraded_above_ms", null, null],
    ["tags", [], null],
  ])("%s = %j: %s", (name, value, message) => expect(wrong(of(name), value)).toBe(message));
});
