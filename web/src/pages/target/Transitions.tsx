/** When it changed, to what, why, and for how long. */

import { Link } from "wouter";
import { useTransitions } from "@/api/history";
import type { Transition } from "@/api/types";
import { Pages } from "@/parts/Pages";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Empty } from "@/parts/States";
import { Moment, Since } from "@/parts/Time";
import { TransitionWords } from "@/parts/TransitionWords";
import { duration } from "@/words/time";
import { useEvidenceLink, useShownLocation } from "./address";
import styles from "./Transitions.module.css";

export function Transitions({ id }: { id: number }) {
  const [location] = useShownLocation();
  const query = useTransitions(id, location);
  return (
    <Panel title={location === "" ? "Transitions" : `Transitions as ${location} saw them`} flush>
      <Pages
        query={query}
        what="the transitions"
        rows={3}
        empty={<Empty title="No change yet">The first check settles what it is.</Empty>}
      >
        {(transitions) => (
          <ol className={styles.list}>
            {transitions.map((transition) => (
              <Entry key={transition.id} transition={transition} />
            ))}
          </ol>
        )}
      </Pages>
    </Panel>
  );
}

function Entry({ transition }: { transition: Transition }) {
  const linkTo = useEvidenceLink();
  const { to, at, ended_at, duration_s, has_evidence, check_at, location } = transition;
  return (
    <li className={styles.entry}>
      <Sign of={to} />
      <span className={styles.what}>
        <TransitionWords transition={transition} />
        {has_evidence && (
          <>
            {" "}
            <Link href={linkTo(check_at, location)} className="link">
              evidence
            </Link>
          </>
        )}
      </span>
      <span className={styles.when}>
        <Moment at={at} />
      </span>
      <span className={styles.lasted}>
        {ended_at === null ? <Since at={at} /> : duration(duration_s * 1_000)}
      </span>
    </li>
  );
}
