/** What a view shows when it has nothing to show: still loading, failed, or empty. */

import { Button, Skeleton } from "@mantine/core";
import "@mantine/core/styles/Skeleton.layer.css";
import type { ReactNode } from "react";
import { problemFrom } from "@/api/client";
import { Icon } from "./Icon";
import styles from "./States.module.css";

/** Grey lines where rows will be. */
export function Loading({ rows = 4, label = "Loading" }: { rows?: number; label?: string }) {
  return (
    <div className={styles.loading} role="status" aria-label={label}>
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={12} width={`${[92, 76, 84, 64][row % 4] ?? 80}%`} radius={4} />
      ))}
    </div>
  );
}

interface FailedProps {
  error: unknown;
  /** What could not be shown: "the targets". */
  what: string;
  retry: () => void;
}

export function Failed({ error, what, retry }: FailedProps) {
  const problem = problemFrom(error);
  return (
    <div className={styles.notice} role="alert">
      <Icon name="warning" size={20} />
      <div>
        <p className={styles.title}>
          Cannot show {what}: {problem.title}
        </p>
        {problem.detail !== "" && <p className="muted">{problem.detail}</p>}
        <Button variant="default" size="xs" mt={12} onClick={retry}>
          Try again
        </Button>
      </div>
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={styles.empty}>
      <p className={styles.title}>{title}</p>
      {children !== undefined && <div className="muted">{children}</div>}
    </div>
  );
}

/** A short line of trouble above something that still shows what it last knew. */
export function Stale({ error }: { error: unknown }) {
  return (
    <p className={styles.stale} role="status">
      <Icon name="warning" size={14} /> {problemFrom(error).title}. What you see is the last known state.
    </p>
  );
}
