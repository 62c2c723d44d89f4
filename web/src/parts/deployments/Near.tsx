/** One line of a chart's readout: the deployments near the pointer, or else how many there are. */

import type { Deployment } from "@/api/types";
import { deploymentWords, tally } from "@/words/deployments";
import { Glyph } from "./Glyph";
import type { Mark } from "./marks";
import styles from "./Near.module.css";

interface Props {
  marks: readonly Mark[];
  near: readonly Deployment[];
}

/** There as soon as any deployment is in sight, so that pointing at one moves nothing. */
export function Near({ marks, near }: Props) {
  if (marks.length === 0) return null;
  const status = near.some((each) => each.status === "failed") ? "failed" : (near[0]?.status ?? "succeeded");
  return (
    <span className={styles.near} aria-hidden>
      <Glyph of={status} />
      {near.length === 0 ? (
        <span className={styles.words}>{tally(marks.map(({ deployment }) => deployment))}</span>
      ) : (
        <b className={styles.words}>{deploymentWords(near)}</b>
      )}
    </span>
  );
}
