/** Machines as the API answers them, under the names the pages use. */

import type { components } from "./schema";
import type { Transition } from "./types";

type Schemas = components["schemas"];

export type Machine = Schemas["MachineRead"];
export type Summary = Schemas["Current"];
export type Bands = Schemas["Bands"];
export type Band = Schemas["Band"];
export type OwnBands = Schemas["OwnBands"];
export type TagBands = Schemas["TagBands"];
export type AllTagBands = Schemas["AllTagBands"];
export type RuleName = Schemas["MachineRule"]["rule"];
export type Process = Schemas["Process"];
export type SeriesName = Schemas["SeriesName"];
export type OneSeries = Schemas["SeriesPoints"];
export type SeriesAnswer = Schemas["MachineSeries"];
export type MachineChange = Schemas["MachinePatch"];

/** What the live connection says of a machine. */
export type MachineState = Pick<
  Machine,
  "id" | "name" | "verdict" | "since" | "reason" | "last_seen" | "current"
>;

export type MachineTransition = Transition;
