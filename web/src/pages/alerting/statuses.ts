/** How a delivery stands, in words and signs. */

import type { Notification } from "@/api/types";
import type { SignName } from "@/parts/Sign";

type Status = Notification["status"];

export const STATUS_WORD: Record<Status, string> = {
  pending: "waiting",
  sending: "being sent",
  delivered: "delivered",
  refused: "refused",
  abandoned: "given up",
};

/** Tried in vain and tried again is a warning; only the end of trying is a failure. */
export function statusSign(status: Status, triedInVain: boolean): SignName {
  switch (status) {
    case "delivered":
      return "up";
    case "refused":
    case "abandoned":
      return "down";
    case "pending":
    case "sending":
      return triedInVain ? "degraded" : "unknown";
  }
}

export const STATUSES = (Object.entries(STATUS_WORD) as [Status, string][]).map(([value, word]) => ({
  value,
  label: word.charAt(0).toUpperCase() + word.slice(1),
}));
