/** One quiet line where a chart lacks marks that belong there. Nothing where it has them all. */

import { MOST_MARKED } from "@/api/history";
import { problemFrom } from "@/api/client";
import { count } from "@/words/numbers";
import styles from "./Unmarked.module.css";

interface Marks {
  error: unknown;
  data: { next: string | null } | undefined;
}

interface Props {
  transitions: Marks;
  deployments: Marks;
}

export function Unmarked({ transitions, deployments }: Props) {
  const failed = [
    { what: "transitions", error: transitions.error },
    { what: "deployments", error: deployments.error },
  ].filter(({ error }) => error !== null);
  const [first] = failed;
  if (first !== undefined) {
    return (
      <p className={styles.line} role="status">
        New {failed.map(({ what }) => what).join(" and ")} cannot be marked on the charts for now:{" "}
        {problemFrom(first.error).title}.
      </p>
    );
  }
  if (transitions.data?.next) {
    return (
      <p className={styles.line}>
        The newest {count(MOST_MARKED)} transitions of this window are marked. Zoom in to see those before.
      </p>
    );
  }
  return null;
}
