/** How the target stands as each location sees it, and what it takes for all of them to agree. */

import { Button } from "@mantine/core";
import type { LocationState, Target } from "@/api/types";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Ago, Since } from "@/parts/Time";
import { latency } from "@/words/numbers";
import { quorumWords } from "@/words/quorum";
import { VERDICT_WORD } from "@/words/verdicts";
import { useShownLocation } from "./address";
import styles from "./LocationsPanel.module.css";

interface Props {
  target: Target;
  states: readonly LocationState[];
}

export function LocationsPanel({ target, states }: Props) {
  const [shown, show] = useShownLocation();
  return (
    <Panel
      title="Locations"
      flush
      aside={target.quorum !== null && <span className="muted">{quorumWords(target.quorum)}</span>}
    >
      <ul className={styles.list}>
        {states.map((state) => (
          <li
            key={state.location}
            className={styles.entry}
            data-shown={shown === state.location || undefined}
          >
            <Sign of={state.verdict} label={VERDICT_WORD[state.verdict]} />
            <span className={styles.name}>{state.location}</span>
            <span className={styles.state}>
              {VERDICT_WORD[state.verdict]} <Since at={state.since} rough />
            </span>
            <span className={styles.reason}>
              {state.workers === 0 ? "no worker is there" : state.verdict === "up" ? "" : state.reason}
            </span>
            <span className={styles.seen}>
              {state.last_latency_ms !== null && `${latency(state.last_latency_ms)}, `}
              {state.last_check_at === null ? "not checked yet" : <Ago at={state.last_check_at} />}
            </span>
            <Button
              size="compact-xs"
              variant={shown === state.location ? "light" : "subtle"}
              color="gray"
              aria-pressed={shown === state.location}
              aria-label={`History from ${state.location}`}
              onClick={() => show(shown === state.location ? "" : state.location)}
            >
              History
            </Button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
