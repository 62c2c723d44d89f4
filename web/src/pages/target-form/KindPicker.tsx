/** Which kind of thing it is. */

import type { TargetKind } from "@/api/types";
import styles from "./KindPicker.module.css";
import { KIND_HINT } from "./layout";

interface Props {
  kinds: readonly TargetKind[];
  value: string;
  choose: (kind: string) => void;
}

export function KindPicker({ kinds, value, choose }: Props) {
  return (
    <fieldset className={styles.picker}>
      <legend className="away">Kind</legend>
      {kinds.map(({ kind, title }) => (
        <label key={kind} className={styles.kind}>
          <input
            type="radio"
            name="kind"
            value={kind}
            checked={kind === value}
            onChange={() => choose(kind)}
          />
          <span className={styles.title}>{title}</span>
          <span className={styles.hint}>{KIND_HINT[kind] ?? kind}</span>
        </label>
      ))}
    </fieldset>
  );
}
