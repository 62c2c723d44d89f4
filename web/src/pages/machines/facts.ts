/** What is said of a machine in few words, wherever it is listed. */

import type { Machine, Summary } from "@/api/machineTypes";
import { useNow } from "@/words/clock";
import { hoursLeft, plain } from "@/words/measures";
import { isSilent } from "./silence";

export function useSilence(machine: Machine): boolean {
  return isSilent(machine, useNow());
}

/** "Debian GNU/Linux 12"; what the machine calls its system, or nothing. */
export function systemOf({ facts }: Pick<Machine, "facts">): string {
  return facts["os.description"] ?? facts["os.name"] ?? facts["os.type"] ?? "";
}

export function diskTip({ disk_mount, disk_full_in_h }: Summary): string | undefined {
  if (disk_mount === null) return undefined;
  return disk_full_in_h === null ? disk_mount : `${disk_mount}\nfull in ${hoursLeft(disk_full_in_h)}`;
}

export function loadTip({ load_1m, load_5m, load_15m, cores }: Summary): string | undefined {
  if (load_1m === null) return undefined;
  const of = cores === null ? "" : `\n${plain(cores)} cores`;
  return `1 min ${plain(load_1m)}\n5 min ${plain(load_5m)}\n15 min ${plain(load_15m)}${of}`;
}
