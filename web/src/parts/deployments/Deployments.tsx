/** The deployments of the window in sight, newest first: for everyone, also who points at nothing. Not there without any. */

import { useState } from "react";
import type { Deployment, Page } from "@/api/types";
import { Panel } from "@/parts/Panel";
import { Ago, Since } from "@/parts/Time";
import { titleOf, whereabouts } from "@/words/deployments";
import { count } from "@/words/numbers";
import { duration } from "@/words/time";
import styles from "./Deployments.module.css";
import { Glyph } from "./Glyph";

const TITLE = "Deployments in this window";
/** Two more are no reason to fold. */
const FEW = 5;
/** So many are unfolded at once: a window may have a thousand. */
const STEP = 50;

interface Props {
  page: Page<Deployment> | undefined;
  /** A panel of its own, or a part of one. */
  framed?: boolean;
}

export function Deployments({ page, framed = false }: Props) {
  if (page === undefined || page.items.length === 0) return null;
  const number = <span className={styles.number}>{count(page.items.length)}</span>;
  if (framed) {
    return (
      <Panel title={TITLE} aside={number} flush>
        <List page={page} />
      </Panel>
    );
  }
  return (
    <section className={styles.inside} aria-label={TITLE}>
      <header className={styles.header}>
        <h3 className={styles.title}>{TITLE}</h3>
        {number}
      </header>
      <List page={page} />
    </section>
  );
}

function List({ page: { items, next } }: { page: Page<Deployment> }) {
  const [unfolded, setUnfolded] = useState(0);
  const folds = items.length > FEW + 2;
  const shown = folds ? items.slice(0, FEW + unfolded) : items;
  const hidden = items.length - shown.length;
  const step = Math.min(hidden, STEP);
  return (
    <>
      <ol className={styles.list}>
        {shown.map((deployment) => (
          <Row key={JSON.stringify([deployment.source, deployment.id])} deployment={deployment} />
        ))}
      </ol>
      {folds && (
        <p className={styles.folding}>
          {hidden > 0 && (
            <button
              type="button"
              className={styles.more}
              aria-expanded={unfolded > 0}
              onClick={() => setUnfolded(unfolded + step)}
            >
              Show {step} more
            </button>
          )}
          {unfolded > 0 && (
            <button type="button" className={styles.more} onClick={() => setUnfolded(0)}>
              Show fewer
            </button>
          )}
        </p>
      )}
      {next !== null && (
        <p className={styles.note}>
          There are more: the newest {count(items.length)} are listed and marked. Zoom in to see the others.
        </p>
      )}
    </>
  );
}

/** The server takes no other; but a link is not the place to rely on that. */
const WEB = /^https?:\/\//i;

function Row({ deployment }: { deployment: Deployment }) {
  const { status, started_at, finished_at, description, url } = deployment;
  const title = titleOf(deployment);
  const tookMs = finished_at === null ? 0 : Date.parse(finished_at) - Date.parse(started_at);
  const where = whereabouts(deployment);
  return (
    <li className={styles.row} data-status={status}>
      <span className={styles.status}>
        <Glyph of={status} /> {status}
      </span>
      <span className={styles.what}>
        <b className={styles.name}>{title}</b>
        <span className="muted">
          {where !== "" && ` · ${where}`}
          {tookMs >= 1_000 && ` · took\u00a0${duration(tookMs)}`}
        </span>
        {WEB.test(url) && (
          <>
            {" "}
            <a
              className="link"
              href={url}
              target="_blank"
              rel="noopener noreferrer"
              aria-label={`details of ${title}`}
            >
              details
            </a>
          </>
        )}
      </span>
      <span className={styles.when}>
        {finished_at === null ? (
          <>
            for <Since at={started_at} rough />
          </>
        ) : (
          <Ago at={finished_at} />
        )}
      </span>
      {description !== "" && <span className={styles.description}>{description}</span>}
    </li>
  );
}
