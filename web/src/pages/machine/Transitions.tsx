/** When it changed, by which rule, to what, why, and for how long. */

import { useMachineTransitions } from "@/api/machines";
import type { MachineTransition } from "@/api/machineTypes";
import { Pages } from "@/parts/Pages";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Empty } from "@/parts/States";
import { Moment, Since } from "@/parts/Time";
import { TransitionWords } from "@/parts/TransitionWords";
import { duration } from "@/words/time";
import { VERDICT_WORD } from "@/words/verdicts";
import styles from "../target/Transitions.module.css";

export function Transitions({ id }: { id: number }) {
  const query = useMachineTransitions(id);
  return (
    <Panel title="Transitions" flush>
      <Pages
        query={query}
        what="the transitions"
        rows={3}
        empty={<Empty title="No change yet">Nothing of it was ever too much.</Empty>}
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

function Entry({ transition }: { transition: MachineTransition }) {
  const { to, at, ended_at, duration_s } = transition;
  return (
    <li className={styles.entry}>
      <Sign of={to} label={VERDICT_WORD[to]} />
      <span className={styles.what}>
        <TransitionWords transition={transition} />
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
