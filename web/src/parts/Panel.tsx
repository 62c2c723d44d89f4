/** A titled part of a page: a line, a heading, what it holds. */

import type { ReactNode } from "react";
import styles from "./Panel.module.css";

interface Props {
  title: string;
  /** Stands right of the title. */
  aside?: ReactNode;
  /** Contents that bring their own edges, such as a table. */
  flush?: boolean;
  children: ReactNode;
}

export function Panel({ title, aside, flush = false, children }: Props) {
  return (
    <section className={styles.panel} aria-label={title}>
      <header className={styles.header}>
        <h2>{title}</h2>
        {aside}
      </header>
      <div className={flush ? styles.flush : styles.body}>{children}</div>
    </section>
  );
}
