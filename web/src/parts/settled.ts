/** Keeps rows where they are while somebody reads them: live changes fade in, but the order waits. */

import { useMemo, useState } from "react";

interface Options {
  /** Somebody's pointer is over the list. */
  hold: boolean;
  /** A change of this (the filters) is the reader's own wish and never waits. */
  unless: string;
}

interface Numbered {
  id: number;
}

/** `fresh` in its own order, or the order held so far with today's values. New ones join at the end. */
export function useSettled<T extends Numbered>(
  fresh: readonly T[],
  all: readonly T[],
  { hold, unless }: Options,
): readonly T[] {
  const [held, setHeld] = useState({ unless, order: fresh });
  const settle = !hold || held.unless !== unless || held.order.length === 0;
  if (settle && (held.order !== fresh || held.unless !== unless)) setHeld({ unless, order: fresh });
  return useMemo(() => (settle ? fresh : inOrder(held.order, fresh, all)), [settle, held.order, fresh, all]);
}

export function inOrder<T extends Numbered>(
  order: readonly T[],
  fresh: readonly T[],
  all: readonly T[],
): T[] {
  const known = new Map(all.map((one) => [one.id, one]));
  const placed = new Set(order.map((one) => one.id));
  return [
    ...order.map((one) => known.get(one.id)).filter((one) => one !== undefined),
    ...fresh.filter((one) => !placed.has(one.id)),
  ];
}
