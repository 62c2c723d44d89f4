/** What a test saw, beside the form. */

import type { useTestTarget } from "@/api/targets";
import { ExaminationView } from "@/parts/examination/ExaminationView";
import { Loading } from "@/parts/States";
import { KIND_HINT } from "./layout";
import styles from "./TestPanel.module.css";

interface Props {
  kind: string;
  test: ReturnType<typeof useTestTarget>;
}

export function TestPanel({ kind, test }: Props) {
  if (kind === "heartbeat") {
    return (
      <aside className={styles.panel}>
        <h2>How it works</h2>
        <p className="muted">
          Save it, and you get an address. The job calls it when it is done; when it does not call in time, it
          counts as down. Nothing needs to reach the job from here.
        </p>
      </aside>
    );
  }
  return (
    <aside className={styles.panel} aria-label="Test" aria-live="polite">
      <h2>Test</h2>
      {test.isPending ? (
        <Loading rows={5} label="Testing" />
      ) : test.isSuccess ? (
        <ExaminationView examination={test.data} />
      ) : (
        <p className="muted">
          {KIND_HINT[kind] ?? "Looks once"}. Test looks once, stores nothing, and shows everything it saw:
          phases, address, certificates, headers, the start of the body, and each assertion with its values.
        </p>
      )}
    </aside>
  );
}
