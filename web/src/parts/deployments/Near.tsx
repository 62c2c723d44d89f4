/** One line of a chart's readout: the deployments near the pointer, or else how many there are. */

import type { Deployment } from "@/api/types";
import { deploymentWords, tally } from "@/words/deployments";
import { Glyph } from "./Glyph";
import { statusOf, type Mark } from "./marks";
import styles from "./Near.module.css";

interface Props {
  marks: readonly Mark[];
  near: readonly Deployment[];
}

/** There as soon as any deployment is in sight, so that pointing at one moves nothing. */
export function Near({ marks, near }: Props) {
  if (marks.length === 0) return null;
  const all = marks.map(({ deployment }) => deployment);
  return (
    <span className={styles.near} aria-hidden>
      <Glyph of={statusOf(near.length === 0 ? all : near)} />
      {near.length === 0 ? (
        <span className={styles.words}>{tally(all)}</span>
      ) : (
        <b className={styles.words}>{deploymentWords(near)}</b>
      )}
    </span>
  );
}
