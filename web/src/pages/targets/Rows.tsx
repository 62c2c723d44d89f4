/** The rows: only those in sight are drawn. j and k walk, Enter opens, x selects. */

import { useMediaQuery } from "@mantine/hooks";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useMemo, useRef, useState, type KeyboardEvent } from "react";
import type { Target } from "@/api/types";
import { count } from "@/words/numbers";
import { lines } from "./filters";
import { Row } from "./Row";
import styles from "./Rows.module.css";

interface Props {
  targets: readonly Target[];
  grouped: boolean;
  picked: ReadonlySet<number>;
  pick: (id: number) => void;
  unpickAll: () => void;
}

const ROW_PX = 40;
const PHONE_ROW_PX = 64;
const HEADING_PX = 40;

export function Rows({ targets, grouped, picked, pick, unpickAll }: Props) {
  const all = useMemo(() => lines(targets, grouped), [targets, grouped]);
  const phone = useMediaQuery("(max-width: 700px)", undefined, { getInitialValueInEffect: false });
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    setTop(element.getBoundingClientRect().top + window.scrollY);
  }, []);

  const rowPx = phone ? PHONE_ROW_PX : ROW_PX;
  const sizes = useMemo(
    () => (index: number) => ("heading" in (all[index] ?? {}) ? HEADING_PX : rowPx),
    [all, rowPx],
  );
  const virtual = useWindowVirtualizer({
    count: all.length,
    estimateSize: sizes,
    getItemKey: (index) => keyOf(all[index]),
    overscan: 12,
    scrollMargin: top,
    // The sticky top bar and header cover what is scrolled to the very top.
    scrollPaddingStart: 96,
    scrollPaddingEnd: 96,
  });

  const walk = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = event.target instanceof HTMLElement ? event.target.closest("[data-index]") : null;
    const index = Number(row?.getAttribute("data-index"));
    const line = all[index];
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      focusLine(index + step, step);
    } else if (event.key === "x" && line !== undefined && "target" in line) {
      pick(line.target.id);
    } else if (event.key === "Escape") {
      unpickAll();
    }
  };
  const focusLine = (from: number, step: number) => {
    let index = from;
    while (all[index] !== undefined && "heading" in (all[index] ?? {})) index += step;
    if (all[index] === undefined) return;
    virtual.scrollToIndex(index);
    const focus = () => {
      const link = box.current?.querySelector<HTMLElement>(`[data-index="${index}"] a`) ?? null;
      link?.focus({ preventScroll: true });
      return link !== null;
    };
    // At once, so that each of two quick keys counts; a row far away only exists once the list has scrolled to it.
    if (!focus()) requestAnimationFrame(focus);
  };

  return (
    <div
      ref={box}
      role="rowgroup"
      className={styles.rows}
      style={{ height: virtual.getTotalSize() }}
      onKeyDown={walk}
    >
      {virtual.getVirtualItems().map((item) => {
        const line = all[item.index];
        if (line === undefined) return null;
        return (
          <div
            key={item.key}
            role="row"
            aria-rowindex={item.index + 2}
            data-index={item.index}
            className={styles.place}
            style={{ transform: `translateY(${item.start - top}px)`, height: item.size }}
          >
            {"heading" in line ? (
              <span role="cell" className={styles.heading}>
                {line.heading} <span className={styles.count}>{count(line.count)}</span>
              </span>
            ) : (
              <Row target={line.target} picked={picked.has(line.target.id)} pick={pick} />
            )}
          </div>
        );
      })}
    </div>
  );
}

function keyOf(line: ReturnType<typeof lines>[number] | undefined): string | number {
  if (line === undefined) return "";
  return "heading" in line ? `group ${line.heading}` : line.target.id;
}
