/** What just happened, said once at the edge of the page, with a way back where there is one. */

import { ActionIcon, Button } from "@mantine/core";
import { useSyncExternalStore } from "react";
import { problemFrom } from "@/api/client";
import { Icon } from "./Icon";
import styles from "./Toasts.module.css";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  undo: (() => void) | null;
}

const SHOWN_MS = 8_000;
const AT_MOST = 3;

let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function become(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

function dismiss(id: number): void {
  become(toasts.filter((toast) => toast.id !== id));
}

function add(text: string, { bad, undo }: { bad: boolean; undo: (() => void) | null }): void {
  lastId += 1;
  const id = lastId;
  become([...toasts.slice(1 - AT_MOST), { id, text, bad, undo }]);
  window.setTimeout(() => dismiss(id), SHOWN_MS);
}

/** Says that something was done. `undo` offers the way back. */
export function say(text: string, undo?: () => void): void {
  add(text, { bad: false, undo: undo ?? null });
}

/** Says that something could not be done, and why. */
export function complain(what: string, error: unknown): void {
  const problem = problemFrom(error);
  add(`${what}: ${problem.message}`, { bad: true, undo: null });
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className={styles.stack} role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className={styles.toast} data-bad={toast.bad || undefined}>
          {toast.bad && <Icon name="warning" />}
          <span className={styles.text}>{toast.text}</span>
          {toast.undo !== null && (
            <Button
              size="compact-sm"
              variant="default"
              onClick={() => {
                dismiss(toast.id);
                toast.undo?.();
              }}
            >
              Undo
            </Button>
          )}
          <ActionIcon size={24} aria-label="Dismiss" onClick={() => dismiss(toast.id)}>
            <Icon name="close" size={14} />
          </ActionIcon>
        </div>
      ))}
    </div>
  );
}
