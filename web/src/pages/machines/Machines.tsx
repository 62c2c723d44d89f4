/** Every machine: how it is now and how its last half hour was; found, filtered, sorted, live. */

import { Button, SegmentedControl } from "@mantine/core";
import { useDeferredValue, useMemo, useState, type ReactNode } from "react";
import { Link, useSearchParams } from "wouter";
import { useLiveState } from "@/api/live";
import { useMachines } from "@/api/machines";
import { Icon } from "@/parts/Icon";
import { useSettled } from "@/parts/settled";
import { Empty, Failed, Stale } from "@/parts/States";
import { count } from "@/words/numbers";
import { Cards } from "./Cards";
import { FilterBar } from "./FilterBar";
import { filtersFrom, narrowed, parametersFor, selected, type Filters } from "./filters";
import { ListHeader } from "./ListHeader";
import { LoadingCards, LoadingRows } from "./Loading";
import styles from "./Machines.module.css";
import { Rows } from "./Rows";

export default function Machines() {
  const { data: machines, error, isPending, refetch } = useMachines();
  const live = useLiveState();
  const [parameters, setParameters] = useSearchParams();
  const filters = useMemo(() => filtersFrom(parameters), [parameters]);
  const [reading, setReading] = useState(false);

  const change = (changes: Partial<Filters>) =>
    setParameters(parametersFor({ ...filters, ...changes }), { replace: true });

  // Typing stays quick while ten thousand machines are searched behind it.
  const wanted = useDeferredValue(filters);
  const fresh = useMemo(() => selected(machines ?? [], wanted), [machines, wanted]);
  const shown = useSettled(fresh, machines ?? [], { hold: reading, unless: JSON.stringify(wanted) });
  const cards = filters.view === "cards";

  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <h1>
          Machines{" "}
          {machines !== undefined && machines.length > 0 && (
            <span className={styles.count}>
              {narrowed(filters)
                ? `${count(shown.length)} of ${count(machines.length)}`
                : count(machines.length)}
            </span>
          )}
        </h1>
        <div className={styles.tools}>
          <SegmentedControl
            size="xs"
            aria-label="How they are shown"
            value={filters.view}
            onChange={(view) => change({ view })}
            data={[
              { value: "table", label: <ViewName icon="table">Table</ViewName> },
              { value: "cards", label: <ViewName icon="cards">Cards</ViewName> },
            ]}
          />
          <Button
            component={Link}
            href="/machines/new"
            size="xs"
            leftSection={<Icon name="plus" size={14} />}
            data-tip="Add a machine: n"
          >
            Add
          </Button>
        </div>
      </header>
      {(machines === undefined || machines.length > 0) && (
        <FilterBar machines={machines ?? []} filters={filters} change={change} />
      )}
      {machines !== undefined && error !== null ? (
        <Stale error={error} />
      ) : (
        machines !== undefined && live !== "live" && <Standing paused={live === "paused"} />
      )}
      <div onPointerEnter={() => setReading(true)} onPointerLeave={() => setReading(false)}>
        {cards ? (
          isPending ? (
            <LoadingCards />
          ) : (
            shown.length > 0 && <Cards machines={shown} />
          )
        ) : (
          (isPending || shown.length > 0) && (
            <div role="table" aria-label="Machines" aria-rowcount={shown.length + 1}>
              <ListHeader filters={filters} change={change} />
              {isPending ? <LoadingRows /> : <Rows machines={shown} />}
            </div>
          )
        )}
        {!isPending && machines === undefined && (
          <Failed error={error} what="the machines" retry={() => void refetch()} />
        )}
        {machines !== undefined && shown.length === 0 && (
          <NothingShown registered={machines.length} showAll={() => change(EVERYTHING)} />
        )}
      </div>
    </div>
  );
}

const EVERYTHING: Partial<Filters> = { q: "", tag: "", verdict: "" };

function ViewName({ icon, children }: { icon: "table" | "cards"; children: ReactNode }) {
  return (
    <span className={styles.view}>
      <Icon name={icon} size={14} /> <span className={styles.word}>{children}</span>
    </span>
  );
}

/** The numbers on the page are of a moment ago, and why. */
function Standing({ paused }: { paused: boolean }) {
  return (
    <p className={styles.standing} role="status">
      <Icon name={paused ? "pause" : "warning"} size={14} />
      {paused
        ? "Live updates are paused: these numbers stand still."
        : "The live connection is broken: these numbers are asked for every few seconds until it is back."}
    </p>
  );
}

function NothingShown({ registered, showAll }: { registered: number; showAll: () => void }) {
  if (registered > 0) {
    return (
      <Empty title="No machine matches">
        <button type="button" className="link" onClick={showAll}>
          Show all {count(registered)}
        </button>
      </Empty>
    );
  }
  return (
    <Empty title="No machine sends anything yet">
      <p className={styles.explained}>
        A small collector on each host sends its processor, memory, disks and network here every few seconds.
        It is one command; it appears here by itself within seconds.
      </p>
      <Button component={Link} href="/machines/new" mt={16} leftSection={<Icon name="plus" size={14} />}>
        Add the first machine
      </Button>
    </Empty>
  );
}
