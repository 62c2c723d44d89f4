/** Everything one check saw: the same view for a test and for the evidence of a failure. */

import type { Examination } from "@/api/types";
import { Sign } from "@/parts/Sign";
import { latency } from "@/words/numbers";
import { RESULT_VERDICT, RESULT_WORD } from "@/words/verdicts";
import { Assertions } from "./Assertions";
import { Certificates } from "./Certificates";
import { Details } from "./Details";
import styles from "./ExaminationView.module.css";
import { PhasesBar } from "./PhasesBar";

export function ExaminationView({ examination }: { examination: Examination }) {
  const { result, error, network_fault, latency_ms, address } = examination;
  return (
    <div className={styles.view}>
      <div className={styles.head} data-result={result}>
        <Sign of={RESULT_VERDICT[result]} size={16} />
        <div>
          <p className={styles.result}>
            {RESULT_WORD[result]}
            {latency_ms !== null && <span className="muted"> in {latency(latency_ms)}</span>}
          </p>
          {error !== null && error !== "" && <p className={styles.error}>{error}</p>}
          {network_fault && (
            <p className="muted">
              A lost network of Tocsin’s own would look the same; it is checked before this counts.
            </p>
          )}
        </div>
      </div>
      {address !== null && address !== "" && (
        <p className={styles.fact}>
          <span className="muted">Address</span> <code>{address}</code>
        </p>
      )}
      <PhasesBar phases={examination.phases} />
      <Assertions assertions={examination.assertions} />
      <Certificates certificates={examination.certificates} />
      <Details details={examination.details} />
    </div>
  );
}
