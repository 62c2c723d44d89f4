/** The summary: the counts in one line, and below it what is wrong, worst first. */

import { useState } from "react";
import { Link } from "wouter";
import type { Overview, TargetBrief, TroubledMachine, Verdict } from "@/api/types";
import { Sign } from "@/parts/Sign";
import { Since } from "@/parts/Time";
import { counted } from "@/words/numbers";
import { VERDICT_WORD } from "@/words/verdicts";
import styles from "./Band.module.css";

interface Props {
  counts: Overview["counts"];
  machines: Overview["machines"];
  worst: readonly TargetBrief[];
  worstMachines: readonly TroubledMachine[];
}

/** Of a target or a machine. */
type Trouble = Pick<TargetBrief, "name" | "verdict" | "since" | "reason"> & {
  href: string;
  follows: boolean;
};

/** What is below the band is seen without scrolling far; two more are no reason to fold. */
const FEW = 10;

const NOT_WELL = ["down", "degraded", "unknown"] as const;
const RANK: Record<Verdict, number> = { down: 0, degraded: 1, unknown: 2, up: 3 };
const ORDER: readonly Verdict[] = ["down", "degraded", "unknown", "up"];

export function Band({ counts, machines, worst, worstMachines }: Props) {
  const ofTargets = ORDER.find((verdict) => counts[verdict] > 0);
  const ofMachines = ORDER.find((verdict) => machines[verdict] > 0);
  const headline = ORDER.find((verdict) => verdict === ofTargets || verdict === ofMachines) ?? "unknown";
  // Whichever is worse speaks; of two that are as bad the targets do.
  const speaks = ofTargets === headline || ofMachines === undefined ? "targets" : "machines";
  const told = ofTargets === undefined && ofMachines === undefined ? "" : `?verdict=${headline}`;
  const troubles = [
    ...worst.map((target) => ({
      ...target,
      href: `/targets/${target.id}`,
      follows: target.because_of !== null,
      reason: target.because_of === null ? target.reason : `because of ${target.because_of.name}`,
    })),
    ...worstMachines.map((machine) => ({ ...machine, href: `/machines/${machine.id}`, follows: false })),
  ].sort((one, other) => RANK[one.verdict] - RANK[other.verdict]);
  // Only so many of the worst are told of.
  const more = [
    { noun: "target", number: counts.down + counts.degraded + counts.unknown - worst.length },
    { noun: "machine", number: machines.down + machines.degraded - worstMachines.length },
  ].filter(({ number }) => number > 0);
  const [unfolded, setUnfolded] = useState(false);
  const folds = troubles.length > FEW + 2;
  const shown = folds && !unfolded ? troubles.slice(0, FEW) : troubles;
  const hidden = troubles.length - shown.length + more.reduce((sum, { number }) => sum + number, 0);
  return (
    <section className={styles.band} data-worst={headline} aria-label="State of everything">
      <div className={styles.summary}>
        <Sign of={headline} size={20} />
        <Link href={`/${speaks}${told}`} className={styles.headline}>
          {headlineWords(counts, machines, speaks)}
        </Link>
        <ul className={styles.counts}>
          {NOT_WELL.filter(
            (verdict) => machines[verdict] > 0 && !(speaks === "machines" && verdict === headline),
          ).map((verdict) => (
            <li key={`machines ${verdict}`}>
              <Link href={`/machines?verdict=${verdict}`} className={styles.count}>
                <Sign of={verdict} size={10} />
                <span>
                  {counted(machines[verdict], "machine")} {VERDICT_WORD[verdict]}
                </span>
              </Link>
            </li>
          ))}
          {ORDER.filter(
            (verdict) => counts[verdict] > 0 && !(speaks === "targets" && verdict === headline),
          ).map((verdict) => (
            <li key={verdict}>
              <Link href={`/targets?verdict=${verdict}`} className={styles.count}>
                <Sign of={verdict} size={10} />
                <span className="number">{counts[verdict]}</span> {VERDICT_WORD[verdict]}
              </Link>
            </li>
          ))}
          {counts.paused > 0 && (
            <li>
              <Link href="/targets?verdict=paused" className={styles.count}>
                <Sign of="paused" size={10} />
                <span className="number">{counts.paused}</span> paused
              </Link>
            </li>
          )}
        </ul>
      </div>
      {troubles.length > 0 && (
        <ul className={styles.worst}>
          {shown.map((trouble) => (
            <Worst key={trouble.href} trouble={trouble} />
          ))}
          {shown.length === troubles.length &&
            more.map(({ noun, number }) => (
              <li key={noun}>
                <Link href={`/${noun}s`} className={styles.more}>
                  and {counted(number, `more ${noun}`)}
                </Link>
              </li>
            ))}
          {folds && (
            <li>
              <button
                type="button"
                className={styles.more}
                aria-expanded={unfolded}
                onClick={() => setUnfolded(!unfolded)}
              >
                {unfolded ? "Show fewer" : `Show ${hidden} more`}
              </button>
            </li>
          )}
        </ul>
      )}
    </section>
  );
}

function Worst({ trouble }: { trouble: Trouble }) {
  const { verdict } = trouble;
  return (
    <li className="arrives">
      <Link
        href={trouble.href}
        className={styles.row}
        data-verdict={verdict}
        data-follows={trouble.follows || undefined}
      >
        <Sign of={verdict} size={14} label={VERDICT_WORD[verdict]} />
        <span className={styles.name}>{trouble.name}</span>
        <span className={styles.since}>
          {VERDICT_WORD[verdict]} <Since at={trouble.since} />
        </span>
        <span className={styles.reason}>{trouble.reason}</span>
      </Link>
    </li>
  );
}

function headlineWords(
  counts: Overview["counts"],
  machines: Overview["machines"],
  speaks: "targets" | "machines",
): string {
  const trouble = NOT_WELL.find((verdict) => (speaks === "targets" ? counts : machines)[verdict] > 0);
  const up = [
    ...(counts.up > 0 ? [counted(counts.up, "target")] : []),
    ...(machines.up > 0 ? [counted(machines.up, "machine")] : []),
  ].join(" and ");
  if (trouble === undefined) {
    if (up !== "") return `All is well: ${up} up`;
    return counts.paused > 0 ? "Everything is paused" : "Nothing is watched yet";
  }
  if (trouble === "unknown") {
    const unknown = counts.unknown + machines.unknown;
    if (up !== "") return `No trouble known, ${unknown} not measured`;
    return speaks === "targets" ? "Waiting for the first checks" : "Waiting for the first samples";
  }
  if (speaks === "machines") return `${counted(machines[trouble], "machine")} ${VERDICT_WORD[trouble]}`;
  const others = trouble === "down" ? counts.down_because_of : 0;
  const causes = `${counted(counts[trouble] - others, "target")} ${trouble}`;
  return others === 0
    ? causes
    : `${causes}, ${others} more because of ${counts.down - others === 1 ? "it" : "them"}`;
}
