/** The server's time, once a second. Everything that says "4 min ago" listens to this one clock. */

import { useSyncExternalStore } from "react";

class Clock {
  private skewMs = 0;
  private shownMs = Date.now();
  private timer: number | undefined;
  private readonly listeners = new Set<() => void>();

  /** Adjusts to the server's clock, so that a reader's wrong clock does not bend "ago". */
  synchronize(serverNowMs: number): void {
    if (Number.isFinite(serverNowMs)) this.skewMs = serverNowMs - Date.now();
  }

  now(): number {
    return Date.now() + this.skewMs;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    if (this.timer === undefined) {
      this.shownMs = this.now();
      this.timer = window.setInterval(() => {
        this.shownMs = this.now();
        for (const each of this.listeners) each();
      }, 1_000);
    }
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) {
        window.clearInterval(this.timer);
        this.timer = undefined;
      }
    };
  };

  readonly read = (): number => this.shownMs;
}

export const clock = new Clock();

/** Epoch ms, ticking once a second. */
export function useNow(): number {
  return useSyncExternalStore(clock.subscribe, clock.read);
}
