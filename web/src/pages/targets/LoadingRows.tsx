/** Grey rows of the right height, so that nothing jumps when the real ones come. */

import { Skeleton } from "@mantine/core";
import styles from "./Row.module.css";

export function LoadingRows() {
  return (
    <div role="row" aria-busy>
      <span role="cell">
        <span className="away">Loading the targets</span>
        {Array.from({ length: 12 }, (_, row) => (
          <span key={row} className={styles.row} aria-hidden>
            <span className={styles.pick} />
            <span className={styles.sign}>
              <Skeleton circle height={12} width={12} />
            </span>
            <span className={styles.who}>
              <Skeleton height={10} width={`${[40, 55, 48, 62][row % 4] ?? 50}%`} />
            </span>
            <span className={styles.tags} />
            <span className={styles.bar}>
              <Skeleton height={10} width={142} />
            </span>
            <span className={styles.uptime}>
              <Skeleton height={10} width={56} ml="auto" />
            </span>
            <span className={styles.p95}>
              <Skeleton height={10} width={48} ml="auto" />
            </span>
            <span className={styles.checked}>
              <Skeleton height={10} width={48} ml="auto" />
            </span>
          </span>
        ))}
      </span>
    </div>
  );
}
