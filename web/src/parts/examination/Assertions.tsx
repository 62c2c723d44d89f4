/** Each assertion, whether it held, and the values it saw. */

import type { AssertionResult } from "@/api/types";
import { Sign } from "@/parts/Sign";
import styles from "./Assertions.module.css";

export function Assertions({ assertions }: { assertions: readonly AssertionResult[] }) {
  if (assertions.length === 0) return null;
  return (
    <section aria-label="Assertions">
      <h3 className={styles.title}>Assertions</h3>
      <ul className={styles.list}>
        {assertions.map((assertion, index) => (
          <li key={index} className={styles.assertion}>
            <Sign of={assertion.ok ? "up" : "down"} label={assertion.ok ? "held" : "did not hold"} />
            <div>
              <code>{assertion.source}</code>
              {assertion.error !== null && assertion.error !== "" && (
                <p className={styles.error}>{assertion.error}</p>
              )}
              {Object.entries(assertion.values).map(([name, value]) => (
                <p key={name} className={styles.value}>
                  <span className="muted">{name} was</span> <code>{shown(value)}</code>
                </p>
              ))}
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

const LONGEST = 400;

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
