/** Where the time went. */

import type { Phases } from "@/api/types";
import { latency } from "@/words/numbers";
import { PHASES } from "./phases";
import styles from "./PhasesBar.module.css";

export function PhasesBar({ phases }: { phases: Phases }) {
  const shown = PHASES.flatMap((phase) => {
    const ms = phases[phase.field];
    return ms === null ? [] : [{ ...phase, ms }];
  });
  const total = shown.reduce((sum, { ms }) => sum + ms, 0);
  if (shown.length === 0) return null;
  return (
    <section aria-label="Phases">
      <h3 className={styles.title}>Phases</h3>
      {total > 0 && (
        <div className={styles.bar} aria-hidden>
          {shown.map(({ field, name, colour, ms }) => (
            <span
              key={field}
              style={{ flexGrow: ms / total, background: `var(${colour})` }}
              data-tip={`${name} ${latency(ms)}`}
            />
          ))}
        </div>
      )}
      <dl className={styles.legend}>
        {shown.map(({ field, name, colour, ms }) => (
          <div key={field}>
            <dt>
              <span className={styles.swatch} style={{ background: `var(${colour})` }} />
              {name}
            </dt>
            <dd>{latency(ms)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
