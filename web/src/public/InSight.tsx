/** A long list, as many beside each other as fit: only what is in sight is there, and ticks. */

import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState, type CSSProperties, type ReactNode } from "react";
import styles from "./InSight.module.css";

interface Props<T extends { id: number }> {
  items: readonly T[];
  /** Px; null: one below the other. */
  leastWidth: number | null;
  /** Px, until it is measured. */
  about: number;
  gap: number;
  children: (item: T) => ReactNode;
}

export function InSight<T extends { id: number }>({ items, leastWidth, about, gap, children }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [{ width, top }, setPlace] = useState({ width: 0, top: 0 });
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const look = () => {
      const { width: wide, top: from } = element.getBoundingClientRect();
      const found = { width: Math.round(wide), top: Math.round(from + window.scrollY) };
      setPlace((known) => (known.width === found.width && known.top === found.top ? known : found));
    };
    look();
    // What comes or goes above moves it, and makes the page longer or shorter.
    const observer = new ResizeObserver(look);
    observer.observe(element);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, []);

  const columns = leastWidth === null ? 1 : Math.max(1, Math.floor((width + gap) / (leastWidth + gap)));
  const virtual = useWindowVirtualizer({
    count: width === 0 ? 0 : Math.ceil(items.length / columns),
    estimateSize: () => about + gap,
    overscan: 4,
    scrollMargin: top,
  });
  const shape: CSSProperties = {
    gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`,
    columnGap: gap,
    paddingBottom: gap,
  };
  return (
    <div
      ref={box}
      role="list"
      className={styles.list}
      style={{ height: virtual.getTotalSize(), marginBottom: -gap }}
    >
      {virtual.getVirtualItems().map((line) => (
        <div
          key={line.key}
          ref={virtual.measureElement}
          data-index={line.index}
          role="presentation"
          className={styles.line}
          style={{ ...shape, transform: `translateY(${line.start - top}px)` }}
        >
          {items.slice(line.index * columns, (line.index + 1) * columns).map((item) => (
            <div key={item.id} role="listitem" className={styles.one}>
              {children(item)}
            </div>
          ))}
        </div>
      ))}
    </div>
  );
}
