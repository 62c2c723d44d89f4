/** The head of a page about one thing: its state in the largest letters, why, and what can be done about it. */

import type { ReactNode } from "react";
import { BackLink } from "./BackLink";
import { Sign, type SignName } from "./Sign";
import { Since } from "./Time";
import styles from "./PageHeader.module.css";

interface Props {
  back: { href: string; label: string };
  sign: SignName;
  name: string;
  /** The state in words. */
  state: string;
  since: string;
  actions: ReactNode;
  /** Why it is not well; null: it is. */
  reason: ReactNode;
  /** What else is to be known before the rest is believed. */
  warnings?: ReactNode;
  /** What is known of it, each fact a cell of one line. */
  facts: ReactNode;
  /** What people say about it. */
  children?: ReactNode;
}

export function PageHeader(props: Props) {
  const { back, sign, name, state, since, actions, reason, warnings, facts, children } = props;
  return (
    <header className={styles.header}>
      <BackLink {...back} />
      <div className={styles.top}>
        <div className={styles.title}>
          <span key={sign} className={`${styles.sign ?? ""} arrives`}>
            <Sign of={sign} size={22} />
          </span>
          <div className={styles.words}>
            <h1 className={styles.name}>{name}</h1>
            <p className={styles.state} data-sign={sign} aria-live="polite">
              {state}
              {" for "}
              <Since at={since} />
            </p>
          </div>
        </div>
        {actions}
      </div>
      {reason !== null && (
        <p className={styles.reason} data-sign={sign}>
          {reason}
        </p>
      )}
      {warnings}
      <p className={styles.line}>{facts}</p>
      {children}
    </header>
  );
}
