/** Everything that is watched: found, filtered, sorted, live. */

import { Button } from "@mantine/core";
import { useDeferredValue, useMemo, useState } from "react";
import { Link, useSearchParams } from "wouter";
import { useTargets } from "@/api/targets";
import { Icon } from "@/parts/Icon";
import { Empty, Failed, Stale } from "@/parts/States";
import { count } from "@/words/numbers";
import { FilterBar } from "./FilterBar";
import { filtersFrom, narrowed, parametersFor, selected, type Filters } from "./filters";
import { ListHeader } from "./ListHeader";
import { LoadingRows } from "./LoadingRows";
import { Rows } from "./Rows";
import { SelectionBar } from "./SelectionBar";
import styles from "./Targets.module.css";
import { useSettled } from "@/parts/settled";

export default function Targets() {
  const { data: targets, error, isPending, refetch } = useTargets();
  const [parameters, setParameters] = useSearchParams();
  const filters = useMemo(() => filtersFrom(parameters), [parameters]);
  const [picked, setPicked] = useState<ReadonlySet<number>>(new Set());
  const [reading, setReading] = useState(false);

  const change = (changes: Partial<Filters>) =>
    setParameters(parametersFor({ ...filters, ...changes }), { replace: true });
  const pick = (id: number) => {
    const next = new Set(picked);
    if (!next.delete(id)) next.add(id);
    setPicked(next);
  };

  // Typing stays quick while ten thousand rows are searched behind it.
  const wanted = useDeferredValue(filters);
  const fresh = useMemo(() => selected(targets ?? [], wanted), [targets, wanted]);
  const shown = useSettled(fresh, targets ?? [], { hold: reading, unless: JSON.stringify(wanted) });
  const chosen = shown.filter((target) => picked.has(target.id));

  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <h1>
          Targets{" "}
          {targets !== undefined && (
            <span className={styles.count}>
              {narrowed(filters)
                ? `${count(shown.length)} of ${count(targets.length)}`
                : count(targets.length)}
            </span>
          )}
        </h1>
        <Button
          component={Link}
          href="/targets/new"
          size="xs"
          leftSection={<Icon name="plus" size={14} />}
          data-tip="Add a target: n"
        >
          Add
        </Button>
      </header>
      <FilterBar targets={targets ?? []} filters={filters} change={change} />
      {targets !== undefined && error !== null && <Stale error={error} />}
      <div
        className={styles.list}
        onPointerEnter={() => setReading(true)}
        onPointerLeave={() => setReading(false)}
      >
        {(isPending || shown.length > 0) && (
          <div role="table" aria-label="Targets" aria-rowcount={shown.length + 1}>
            <ListHeader filters={filters} change={change} />
            {isPending ? (
              <LoadingRows />
            ) : (
              <Rows
                targets={shown}
                grouped={wanted.grouped}
                picked={picked}
                pick={pick}
                unpickAll={() => setPicked(new Set())}
              />
            )}
          </div>
        )}
        {!isPending && targets === undefined && (
          <Failed error={error} what="the targets" retry={() => void refetch()} />
        )}
        {targets !== undefined && shown.length === 0 && (
          <NothingShown registered={targets.length} showAll={() => change(EVERYTHING)} />
        )}
      </div>
      {chosen.length > 0 && <SelectionBar targets={chosen} done={() => setPicked(new Set())} />}
    </div>
  );
}

const EVERYTHING: Partial<Filters> = { q: "", kind: "", tag: "", verdict: "", group: "" };

function NothingShown({ registered, showAll }: { registered: number; showAll: () => void }) {
  if (registered > 0) {
    return (
      <Empty title="No target matches">
        <button type="button" className="link" onClick={showAll}>
          Show all {count(registered)}
        </button>
      </Empty>
    );
  }
  return (
    <Empty title="Nothing is watched yet">
      <Link href="/targets/new" className="link">
        Add the first target
      </Link>
      : a URL, a host and port, a name to resolve, or a job that must call in.
    </Empty>
  );
}
