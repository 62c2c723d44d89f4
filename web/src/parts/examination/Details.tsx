/** What only this kind of check has. Known parts are laid out; anything else is shown as it came. All of it is text. */

import { Fragment, type ReactNode } from "react";
import { bytes } from "@/words/numbers";
import styles from "./Details.module.css";

/** Shown in this order and in this way; whatever is not here follows as name and value. */
const LAID_OUT: Record<string, (value: unknown, details: Record<string, unknown>) => ReactNode> = {
  redirects: (value) => <Redirects value={value} />,
  headers: (value) => <Headers value={value} />,
  body: (value, details) => <Body value={value} details={details} />,
};

/** Said within the body's own line. */
const SPOKEN_ELSEWHERE = new Set(["body_bytes", "truncated"]);

export function Details({ details }: { details: Record<string, unknown> }) {
  const plain = Object.entries(details).filter(
    ([name, value]) => !(name in LAID_OUT) && !SPOKEN_ELSEWHERE.has(name) && value !== null && value !== "",
  );
  return (
    <>
      {plain.length > 0 && (
        <section aria-label="Details">
          <h3 className={styles.title}>Details</h3>
          <dl className={styles.facts}>
            {plain.map(([name, value]) => (
              <div key={name}>
                <dt>{name.replaceAll("_", " ")}</dt>
                <dd>
                  <code>{text(value)}</code>
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
      {Object.entries(LAID_OUT).map(([name, draw]) =>
        details[name] === undefined || details[name] === null ? null : (
          <Fragment key={name}>{draw(details[name], details)}</Fragment>
        ),
      )}
    </>
  );
}

function Redirects({ value }: { value: unknown }) {
  if (!Array.isArray(value) || value.length === 0) return null;
  return (
    <section aria-label="Redirects">
      <h3 className={styles.title}>Redirects</h3>
      <ol className={styles.redirects}>
        {value.map((hop: unknown, index) => {
          const { url, status, ...rest } = (
            typeof hop === "object" && hop !== null ? hop : { url: hop }
          ) as Record<string, unknown>;
          return (
            <li key={index}>
              {status !== undefined && <code>{text(status)}</code>} <code>{text(url)}</code>
              {Object.keys(rest).length > 0 && <code className="muted"> {text(rest)}</code>}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

function Headers({ value }: { value: unknown }) {
  const pairs = headerPairs(value);
  if (pairs.length === 0) return null;
  return (
    <details className={styles.fold}>
      <summary>{pairs.length} headers</summary>
      <dl className={styles.headers}>
        {pairs.map(([name, content], index) => (
          <div key={index}>
            <dt>{name}</dt>
            <dd>{content}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function headerPairs(value: unknown): [string, string][] {
  if (Array.isArray(value)) {
    return value.map((pair: unknown) =>
      Array.isArray(pair) ? [text(pair[0]), text(pair[1])] : [text(pair), ""],
    );
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).map(([name, content]) => [name, text(content)]);
  }
  return [];
}

function Body({ value, details }: { value: unknown; details: Record<string, unknown> }) {
  const size = typeof details.body_bytes === "number" ? bytes(details.body_bytes) : "";
  const cut = details.truncated === true ? ", the start of it" : "";
  const shown = text(value);
  return (
    <details className={styles.fold} open={shown !== "" && shown.length < 4_000}>
      <summary>Body{size === "" ? "" : ` (${size}${cut})`}</summary>
      {shown === "" ? (
        <p className="muted">The body was empty.</p>
      ) : (
        // A scrolling region must be reachable by keyboard.
        <pre className={styles.body} tabIndex={0} aria-label="Body">
          {shown}
        </pre>
      )}
    </details>
  );
}

function text(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined ? "" : JSON.stringify(value);
}
