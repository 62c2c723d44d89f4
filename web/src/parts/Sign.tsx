/** The five signs. The shape alone tells them apart; colour only helps. */

import type { Verdict } from "@/api/types";
import styles from "./Sign.module.css";

export type SignName = Verdict | "maintenance" | "paused";

interface Props {
  of: SignName;
  size?: number;
  /** Read aloud in place of the shape; leave it out where the word stands beside it. */
  label?: string;
}

export function Sign({ of, size = 12, label }: Props) {
  return (
    <svg
      className={styles[of]}
      width={size}
      height={size}
      viewBox="0 0 12 12"
      role={label === undefined ? undefined : "img"}
      aria-label={label}
      aria-hidden={label === undefined}
      data-sign={of}
    >
      <Shape of={of} />
    </svg>
  );
}

function Shape({ of }: { of: SignName }) {
  switch (of) {
    case "up":
      return <circle cx="6" cy="6" r="5" fill="currentColor" />;
    case "degraded":
      return (
        <>
          <circle cx="6" cy="6" r="4.25" fill="none" stroke="currentColor" strokeWidth="1.5" />
          <path d="M6 1.75a4.25 4.25 0 0 0 0 8.5Z" fill="currentColor" />
        </>
      );
    case "down":
      return <rect x="1" y="1" width="10" height="10" rx="1.5" fill="currentColor" />;
    case "unknown":
      return <circle cx="6" cy="6" r="4.25" fill="none" stroke="currentColor" strokeWidth="1.5" />;
    case "paused":
      return (
        <>
          <circle cx="6" cy="6" r="5.25" fill="none" stroke="currentColor" strokeWidth="1.25" />
          <path d="M4.75 4v4M7.25 4v4" stroke="currentColor" strokeWidth="1.25" strokeLinecap="round" />
        </>
      );
    case "maintenance":
      return (
        <path
          fill="currentColor"
          d="M11 3.2a3 3 0 0 1-4 2.9L3.3 9.8a1.1 1.1 0 0 1-1.6 0 1.1 1.1 0 0 1 0-1.6L5.4 4.5a3 3 0 0 1 3.7-4L7.4 2.2l.4 1.5 1.5.4L11 2.4c0 .2 0 .5 0 .8Z"
        />
      );
  }
}
