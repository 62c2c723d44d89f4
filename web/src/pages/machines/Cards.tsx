/** The machines as cards, as many beside each other as fit; only those in sight are drawn. */

import { useElementSize, useMergedRef } from "@mantine/hooks";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";
import type { Machine } from "@/api/machineTypes";
import { Card } from "./Card";
import styles from "./Cards.module.css";
import { useWalk } from "./walk";

const LEAST_WIDTH = 300;
const GAP = 16;
const CARD_PX = 208;

export function Cards({ machines }: { machines: readonly Machine[] }) {
  const box = useRef<HTMLUListElement>(null);
  const { ref: sized, width } = useElementSize<HTMLUListElement>();
  const ref = useMergedRef(box, sized);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    setTop(element.getBoundingClientRect().top + window.scrollY);
  }, []);
  const columns = Math.max(1, Math.floor((width + GAP) / (LEAST_WIDTH + GAP)));
  const virtual = useWindowVirtualizer({
    count: width === 0 ? 0 : Math.ceil(machines.length / columns),
    estimateSize: () => CARD_PX + GAP,
    overscan: 4,
    scrollMargin: top,
    scrollPaddingStart: 72,
    scrollPaddingEnd: 96,
  });
  const walk = useWalk(box, {
    count: machines.length,
    show: (index) => virtual.scrollToIndex(Math.floor(index / columns)),
  });

  const drawn = virtual.getVirtualItems().flatMap((item) =>
    machines.slice(item.index * columns, (item.index + 1) * columns).map((machine, column) => ({
      machine,
      index: item.index * columns + column,
      left: `calc(${column} * (100% + ${GAP}px) / ${columns})`,
      top: item.start - top,
    })),
  );
  return (
    <ul
      ref={ref}
      className={styles.cards}
      style={{ height: virtual.getTotalSize() }}
      aria-label="Machines"
      onKeyDown={walk}
    >
      {drawn.map(({ machine, index, left, top: from }) => (
        <li
          key={machine.id}
          data-index={index}
          className={styles.place}
          style={{
            left,
            transform: `translateY(${from}px)`,
            width: `calc((100% - ${(columns - 1) * GAP}px) / ${columns})`,
            height: CARD_PX,
          }}
        >
          <Card machine={machine} />
        </li>
      ))}
    </ul>
  );
}
