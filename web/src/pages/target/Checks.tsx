/** Every check, newest first; those that did not pass open onto what was seen. */

import { SegmentedControl } from "@mantine/core";
import { useState } from "react";
import { Link } from "wouter";
import { useChecks, type CheckFilter } from "@/api/history";
import type { Check } from "@/api/types";
import { PHASES } from "@/parts/examination/phases";
import { Pages } from "@/parts/Pages";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Empty } from "@/parts/States";
import { Moment } from "@/parts/Time";
import { latency } from "@/words/numbers";
import { RESULT_VERDICT, RESULT_WORD } from "@/words/verdicts";
import { useEvidenceLink, useShownLocation } from "./address";
import styles from "./Checks.module.css";

export function Checks({ id, severalLocations }: { id: number; severalLocations: boolean }) {
  const [only, setOnly] = useState<CheckFilter>("all");
  const [location] = useShownLocation();
  const query = useChecks(id, only, location);
  const withLocation = severalLocations && location === "";
  return (
    <Panel
      title={location === "" ? "Checks" : `Checks from ${location}`}
      flush
      aside={
        <SegmentedControl
          size="xs"
          aria-label="Which checks"
          value={only}
          onChange={(value) => setOnly(value)}
          data={[
            { value: "all", label: "All" },
            { value: "failed", label: "Failed" },
          ]}
        />
      }
    >
      <Pages
        query={query}
        what="the checks"
        rows={4}
        empty={<Empty title={only === "failed" ? "No failed check is kept" : "No check yet"} />}
      >
        {(checks) => (
          <table className={styles.table}>
            <thead>
              <tr>
                <th>
                  <span className="away">Result</span>
                </th>
                <th>Time</th>
                {withLocation && <th>Location</th>}
                <th className={styles.numeric}>Latency</th>
                <th className={styles.phases}>Phases</th>
                <th>What was seen</th>
              </tr>
            </thead>
            <tbody>
              {checks.map((check) => (
                <CheckRow
                  key={`${check.at} ${check.location ?? ""}`}
                  check={check}
                  withLocation={withLocation}
                />
              ))}
            </tbody>
          </table>
        )}
      </Pages>
    </Panel>
  );
}

function CheckRow({ check, withLocation }: { check: Check; withLocation: boolean }) {
  const linkTo = useEvidenceLink();
  const phases = PHASES.flatMap(({ field, name, colour }) => {
    const ms = check.phases[field];
    return ms === null || ms <= 0 ? [] : [{ name, colour, ms }];
  });
  return (
    <tr>
      <td className={styles.sign}>
        <Sign of={RESULT_VERDICT[check.result]} size={10} label={RESULT_WORD[check.result]} />
      </td>
      <td className={styles.time}>
        <Moment at={check.at} seconds />
      </td>
      {withLocation && <td className={styles.location}>{check.location}</td>}
      <td className={styles.numeric}>{latency(check.latency_ms)}</td>
      <td className={styles.phases}>
        <span
          className={styles.bar}
          data-tip={phases.map(({ name, ms }) => `${name} ${latency(ms)}`).join("\n")}
        >
          {phases.map(({ name, colour, ms }) => (
            <span key={name} style={{ flexGrow: ms, background: `var(${colour})` }} />
          ))}
        </span>
        <span className="away">{phases.map(({ name, ms }) => `${name} ${latency(ms)}`).join(", ")}</span>
      </td>
      <td className={styles.seen}>
        {check.error === null || check.error === "" ? (
          <span className="muted">{RESULT_WORD[check.result]}</span>
        ) : (
          check.error
        )}
        {check.has_evidence && (
          <>
            {" "}
            <Link href={linkTo(check.at, check.location)} className="link">
              evidence
            </Link>
          </>
        )}
      </td>
    </tr>
  );
}
