/** Grey rows and cards of the right height, so that nothing jumps when the real ones come. */

import { Skeleton } from "@mantine/core";
import card from "./Card.module.css";
import styles from "./Loading.module.css";
import row from "./Row.module.css";

export function LoadingRows() {
  return (
    <div role="row" aria-busy>
      <span role="cell">
        <span className="away">Loading the machines</span>
        {Array.from({ length: 10 }, (_, index) => (
          <span key={index} className={row.row} aria-hidden>
            <span className={row.sign}>
              <Skeleton circle height={12} width={12} />
            </span>
            <span className={row.who}>
              <Skeleton height={10} width={`${[40, 55, 48, 62][index % 4] ?? 50}%`} />
            </span>
            {[row.cpu, row.spark, row.memory, row.disk, row.load, row.network, row.seen].map((column) => (
              <span key={column} className={column}>
                <Skeleton height={8} width="100%" />
              </span>
            ))}
          </span>
        ))}
      </span>
    </div>
  );
}

export function LoadingCards() {
  return (
    <div className={styles.cards} role="status" aria-label="Loading the machines">
      {Array.from({ length: 6 }, (_, index) => (
        <div key={index} className={`${card.card ?? ""} ${styles.card ?? ""}`}>
          <Skeleton height={12} width="50%" />
          <Skeleton height={32} mt={32} />
          {[0, 1, 2].map((line) => (
            <Skeleton key={line} height={8} mt={16} />
          ))}
        </div>
      ))}
    </div>
  );
}
