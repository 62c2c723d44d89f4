/** The connection to the relay. It reads, and says nothing but "ping". */

import { useSyncExternalStore } from "react";
import { clock } from "@/words/clock";
import { after, NOTHING, type Message, type Picture } from "./picture";

export interface Known extends Picture {
  /** The relay answers. */
  online: boolean;
  /** It has never answered yet. */
  arriving: boolean;
}

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15_000;
/** The relay says something every 5 s; a connection on which it says nothing for so long is broken. */
const SILENCE_MS = 25_000;
const PING_EVERY_MS = 10_000;

class Feed {
  private known: Known = { ...NOTHING, online: false, arriving: true };
  private socket: WebSocket | null = null;
  private readonly listeners = new Set<() => void>();
  private retryMs = FIRST_RETRY_MS;
  private pingTimer: number | undefined;
  private heardAt = 0;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly read = (): Known => this.known;

  open(): void {
    if (this.socket !== null) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket = socket;
    this.heardAt = Date.now();
    socket.onmessage = (event: MessageEvent<string>) => {
      if (this.socket !== socket) return;
      this.heardAt = Date.now();
      this.hear(JSON.parse(event.data) as Message);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.retry();
    };
    window.clearInterval(this.pingTimer);
    this.pingTimer = window.setInterval(() => this.ping(), PING_EVERY_MS);
  }

  private hear(message: Message): void {
    if (message.type === "initial") this.retryMs = FIRST_RETRY_MS;
    if (message.type !== "pong") clock.synchronize(Date.parse(message.at));
    this.become({ ...after(this.known, message), online: true, arriving: false });
  }

  private ping(): void {
    const socket = this.socket;
    if (socket === null) return;
    if (Date.now() - this.heardAt > SILENCE_MS) this.retry();
    else if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
  }

  private retry(): void {
    window.clearInterval(this.pingTimer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.become({ ...this.known, online: false, arriving: false });
    window.setTimeout(() => this.open(), this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  private become(known: Known): void {
    this.known = known;
    for (const listener of this.listeners) listener();
  }
}

export const feed = new Feed();

export function useKnown(): Known {
  return useSyncExternalStore(feed.subscribe, feed.read);
}
