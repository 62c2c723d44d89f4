/** The rows: only those in sight are drawn. j and k walk, Enter opens. */

import { useMediaQuery } from "@mantine/hooks";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";
import type { Machine } from "@/api/machineTypes";
import { Row } from "./Row";
import styles from "./Rows.module.css";
import { useWalk } from "./walk";

const ROW_PX = 48;
const PHONE_ROW_PX = 96;

export function Rows({ machines }: { machines: readonly Machine[] }) {
  const phone = useMediaQuery("(max-width: 700px)", undefined, { getInitialValueInEffect: false });
  const rowPx = phone ? PHONE_ROW_PX : ROW_PX;
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    setTop(element.getBoundingClientRect().top + window.scrollY);
  }, []);
  const virtual = useWindowVirtualizer({
    count: machines.length,
    estimateSize: () => rowPx,
    getItemKey: (index) => machines[index]?.id ?? index,
    overscan: 12,
    scrollMargin: top,
    // The sticky top bar and header cover what is scrolled to the very top.
    scrollPaddingStart: 96,
    scrollPaddingEnd: 96,
  });
  const walk = useWalk(box, { count: machines.length, show: (index) => virtual.scrollToIndex(index) });

  return (
    <div
      ref={box}
      role="rowgroup"
      className={styles.rows}
      style={{ height: virtual.getTotalSize() }}
      onKeyDown={walk}
    >
      {virtual.getVirtualItems().map((item) => {
        const machine = machines[item.index];
        return (
          machine !== undefined && (
            <div
              key={item.key}
              role="row"
              aria-rowindex={item.index + 2}
              data-index={item.index}
              className={styles.place}
              style={{ transform: `translateY(${item.start - top}px)`, height: item.size }}
            >
              <Row machine={machine} />
            </div>
          )
        );
      })}
    </div>
  );
}
