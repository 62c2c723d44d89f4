/** Keeps rows where they are while somebody reads them: live changes fade in, but the order waits. */

import { useMemo, useState } from "react";
import type { Target } from "@/api/types";

interface Options {
  /** Somebody's pointer is over the list. */
  hold: boolean;
  /** A change of this (the filters) is the reader's own wish and never waits. */
  unless: string;
}

/** `fresh` in its own order, or the order held so far with today's values. New targets join at the end. */
export function useSettled(
  fresh: readonly Target[],
  all: readonly Target[],
  { hold, unless }: Options,
): readonly Target[] {
  const [held, setHeld] = useState({ unless, order: fresh });
  const settle = !hold || held.unless !== unless || held.order.length === 0;
  if (settle && (held.order !== fresh || held.unless !== unless)) setHeld({ unless, order: fresh });
  return useMemo(() => (settle ? fresh : inOrder(held.order, fresh, all)), [settle, held.order, fresh, all]);
}

export function inOrder(
  order: readonly Target[],
  fresh: readonly Target[],
  all: readonly Target[],
): Target[] {
  const known = new Map(all.map((target) => [target.id, target]));
  const placed = new Set(order.map((target) => target.id));
  return [
    ...order.map((target) => known.get(target.id)).filter((target) => target !== undefined),
    ...fresh.filter((target) => !placed.has(target.id)),
  ];
}
