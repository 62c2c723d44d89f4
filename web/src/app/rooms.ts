/** The rooms of the house, in the order of the rail. */

import type { IconName } from "@/parts/Icon";

export interface Room {
  path: string;
  name: string;
  icon: IconName;
  /** `g`, then this letter. */
  letter: string;
}

export const ROOMS: readonly Room[] = [
  { path: "/", name: "Overview", icon: "overview", letter: "o" },
  { path: "/targets", name: "Targets", icon: "targets", letter: "t" },
  { path: "/machines", name: "Machines", icon: "machines", letter: "m" },
  { path: "/alerting", name: "Alerting", icon: "alerting", letter: "a" },
  { path: "/settings", name: "Settings", icon: "settings", letter: "s" },
];

export function roomOf(path: string): Room | undefined {
  return ROOMS.findLast((room) => (room.path === "/" ? path === "/" : path.startsWith(room.path)));
}
