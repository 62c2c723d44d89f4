/** When it changed, to what, why, and for how long. */

import { Button } from "@mantine/core";
import { Link } from "wouter";
import { useTransitions } from "@/api/history";
import type { Transition } from "@/api/types";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Empty, Failed, Loading } from "@/parts/States";
import { Moment, Since } from "@/parts/Time";
import { TransitionWords } from "@/parts/TransitionWords";
import { duration } from "@/words/time";
import { useEvidenceLink } from "./evidence-link";
import styles from "./Transitions.module.css";

export function Transitions({ id }: { id: number }) {
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } =
    useTransitions(id);
  const all = data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Panel title="Transitions" flush>
      {isPending ? (
        <Loading rows={3} label="Loading the transitions" />
      ) : data === undefined ? (
        <Failed error={error} what="the transitions" retry={() => void refetch()} />
      ) : all.length === 0 ? (
        <Empty title="No change yet">The first check settles what it is.</Empty>
      ) : (
        <ol className={styles.list}>
          {all.map((transition) => (
            <Entry key={transition.id} transition={transition} />
          ))}
        </ol>
      )}
      {hasNextPage && (
        <Button
          variant="subtle"
          size="xs"
          m={8}
          loading={isFetchingNextPage}
          onClick={() => void fetchNextPage()}
        >
          Older
        </Button>
      )}
    </Panel>
  );
}

function Entry({ transition }: { transition: Transition }) {
  const linkTo = useEvidenceLink();
  const { to, at, ended_at, duration_s, has_evidence, check_at } = transition;
  return (
    <li className={styles.entry}>
      <Sign of={to} />
      <span className={styles.what}>
        <TransitionWords transition={transition} />
        {has_evidence && (
          <>
            {" "}
            <Link href={linkTo(check_at)} className="link">
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
