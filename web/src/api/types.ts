/** The shapes of the REST API, under the names the pages use. They come from the API's own OpenAPI document. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Session = Schemas["Session"];
export type AggregatorDoor = Schemas["AggregatorDoor"];
export type TroubledMachine = Schemas["TroubledMachine"];

export type Target =
  | Schemas["HttpTarget"]
  | Schemas["TcpTarget"]
  | Schemas["IcmpTarget"]
  | Schemas["DnsTarget"]
  | Schemas["TlsTarget"]
  | Schemas["HeartbeatTarget"];
export type TargetSummary = Schemas["TargetSummary"];
export type BarCell = Schemas["Bar"];
export type Verdict = Target["verdict"];

export type LocationState = Schemas["LocationState"];
export type Quorum = NonNullable<Target["quorum"]>;
export type Location = Schemas["Location"];
export type Worker = Location["workers"][number];

/** What the live connection says of a target. */
export type TargetState = Pick<
  Target,
  "id" | "verdict" | "since" | "reason" | "enabled" | "last_check_at" | "last_latency_ms"
>;

export type Overview = Schemas["Overview"];
export type TargetBrief = Schemas["TargetBrief"];
export type TimelineEntry = Schemas["TimelineEntry"];

export type Check = Schemas["Check"];
export type CheckResult = Check["result"];
export type Phases = Schemas["Phases"];
export type Transition = Schemas["Transition"];
export type Deployment = Schemas["Deployment"];
export type Ping = Schemas["Ping"];
export type Latency = Schemas["Latency"];
export type LatencyPoint = Schemas["LatencyPoint"];
export type Summary = Schemas["Summary"];
export type WindowSummary = Schemas["Window"];
export type WindowName = "24h" | "7d" | "30d" | "90d" | "365d";

/** Everything one check saw: the answer of a test, and the evidence kept with a failed check. */
export type Examination = Schemas["Examination"];
export type Evidence = Schemas["Evidence"];
export type AssertionResult = Schemas["Assertion"];
export type Certificate = Schemas["CertificateRead"];

export type TargetKind = Omit<Schemas["KindRead"], "schema"> & { schema: JsonSchema };
export type ExpressionVerdict = Schemas["ExpressionAnswer"];

export type Channel = Schemas["AppriseChannel"] | Schemas["WebhookChannel"] | Schemas["EmailChannel"];
export type ChannelKind = Omit<Schemas["ChannelKindRead"], "schema"> & { schema: JsonSchema };
export type ChannelTest = Schemas["DeliveryTrial"];
export type Rule = Schemas["RuleRead"];
export type RuleDraft = Omit<Rule, "id" | "is_default">;
export type RuleEvent = Rule["events"][number];
export type Notification = Schemas["NotificationRead"];
export type Attempt = Schemas["DeliveryAttempt"];

export type ApiKey = Schemas["Key"];
export type NewApiKey = Schemas["NewKey"];
export type Scope = ApiKey["scopes"][number];

/** One page of a list. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

/** The part of JSON Schema that forms are made from. */
export interface JsonSchema {
  type?: string;
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  examples?: unknown[];
  writeOnly?: boolean;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  prefixItems?: JsonSchema[];
  additionalProperties?: JsonSchema | boolean;
  anyOf?: JsonSchema[];
  allOf?: JsonSchema[];
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
}
