/** j and k, or the arrows, from one machine of a virtualized list to the next. */

import type { KeyboardEvent, RefObject } from "react";

interface List {
  count: number;
  /** Scrolls until the machine of this index is drawn. */
  show: (index: number) => void;
}

const NEXT = new Set(["j", "ArrowDown"]);
const PREVIOUS = new Set(["k", "ArrowUp"]);

export function useWalk(
  box: RefObject<HTMLElement | null>,
  { count, show }: List,
): (event: KeyboardEvent) => void {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = NEXT.has(event.key) ? 1 : PREVIOUS.has(event.key) ? -1 : 0;
    const here = event.target instanceof HTMLElement ? event.target.closest("[data-index]") : null;
    if (step === 0 || here === null) return;
    event.preventDefault();
    const index = Number(here.getAttribute("data-index")) + step;
    if (index < 0 || index >= count) return;
    show(index);
    const focus = () => {
      const link = box.current?.querySelector<HTMLElement>(`[data-index="${index}"] a`) ?? null;
      link?.focus({ preventScroll: true });
      return link !== null;
    };
    // At once, so that each of two quick keys counts; one far away only exists once the list has scrolled to it.
    if (!focus()) requestAnimationFrame(focus);
  };
}
