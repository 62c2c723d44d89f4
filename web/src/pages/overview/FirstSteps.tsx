/** For somebody who has just started: one field puts the first thing of their own under watch. */

import { QuickAdd } from "@/pages/target-form/QuickAdd";
import styles from "./FirstSteps.module.css";

export function FirstSteps({ registered }: { registered: number }) {
  return (
    <section className={styles.steps} aria-label="Add your first target">
      <div>
        <h2>What do you run?</h2>
        <p className="muted">
          {registered > 0 &&
            "Tocsin already watches its own health endpoint, so you see what a target looks like. "}
          Paste the address of something of yours; it is checked within seconds, and you can tune it later.
        </p>
      </div>
      <QuickAdd />
    </section>
  );
}
