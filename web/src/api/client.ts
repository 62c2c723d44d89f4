/** The one door to the server. Knows how to ask and how to report a refusal; knows no page and no cache. */

import type { Page } from "./types";

export interface FieldError {
  /** A dotted path: `interval_s`, `assert.0`. */
  field: string;
  message: string;
  line?: number | null;
  column?: number | null;
}

/** The server's refusal (RFC 9457), or our own words when there was no answer at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly fields: readonly FieldError[] = [],
  ) {
    super(detail === "" ? title : detail);
    this.name = "Problem";
  }
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

type Query = Record<string, string | number | boolean | undefined>;

export function withQuery(path: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Called when the server no longer knows the session; the app then shows the sign-in page where it stands. */
let onSignedOut: () => void = () => undefined;

export function whenSignedOut(listener: () => void): void {
  onSignedOut = listener;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return ask<T>("GET", path, undefined, signal);
}

/** Every item of a list that is short by nature, over all its pages. */
export async function getAll<T>(path: string, signal?: AbortSignal): Promise<T[]> {
  let all: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await get<Page<T>>(withQuery(path, { cursor: cursor ?? undefined }), signal);
    all = all.concat(page.items);
    cursor = page.next;
  } while (cursor !== null);
  return all;
}

export async function send<T>(method: Exclude<Method, "GET">, path: string, body?: unknown): Promise<T> {
  return ask<T>(method, path, body);
}

async function ask<T>(method: Method, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (method !== "GET") headers["X-Tocsin-Request"] = "1";
  if (body !== undefined) headers["Content-Type"] = "application/json";

  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      credentials: "same-origin",
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(
      0,
      "Tocsin does not answer",
      "The browser could not reach the server. Is it running, and is this machine on the network? Trying again.",
    );
  }

  if (!response.ok) {
    const problem = await problemOf(response);
    if (response.status === 401 && path !== "/v1/session") onSignedOut();
    throw problem;
  }
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim();
  try {
    const body = (await response.json()) as Partial<{
      title: string;
      detail: string;
      errors: FieldError[];
    }>;
    return new Problem(response.status, body.title ?? fallback, body.detail ?? "", body.errors ?? []);
  } catch {
    return new Problem(response.status, fallback, "The answer was not one this page understands.");
  }
}

/** A problem for people, whatever was thrown. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(
    0,
    "Something went wrong in this page",
    error instanceof Error ? error.message : String(error),
  );
}
