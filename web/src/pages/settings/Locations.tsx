/** Where checks are made from, and which workers are there. */

import { Button } from "@mantine/core";
import { useLocations, useRemoveLocation } from "@/api/locations";
import type { Location, Worker } from "@/api/types";
import { Panel } from "@/parts/Panel";
import { Empty, Failed, Loading } from "@/parts/States";
import { Ago } from "@/parts/Time";
import { complain, say } from "@/parts/Toasts";
import { counted } from "@/words/numbers";
import { duration } from "@/words/time";
import styles from "./Settings.module.css";

/** A clock that is further off than this is worth a word. */
const NOTICEABLE_MS = 2_000;

export function Locations() {
  const { data, error, isPending, refetch } = useLocations();
  return (
    <Panel title="Locations" flush>
      {isPending ? (
        <Loading rows={2} label="Loading the locations" />
      ) : data === undefined ? (
        <Failed error={error} what="the locations" retry={() => void refetch()} />
      ) : data.length === 0 ? (
        <Empty title="No location yet">It appears with its first worker.</Empty>
      ) : (
        <ul className={styles.list}>
          {data.map((location) => (
            <Entry key={location.name} location={location} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Entry({ location }: { location: Location }) {
  const { name, workers, targets } = location;
  const remove = useRemoveLocation();
  return (
    <li className={styles.item}>
      <div>
        <p className={styles.name}>{name}</p>
        {workers.length === 0 ? (
          <p className={styles.line}>
            No worker is there: nothing is checked from it. Start one with{" "}
            <code>TOCSIN_LOCATION={name} tocsin worker</code>.
          </p>
        ) : (
          workers.map((worker) => <WorkerLine key={worker.id} worker={worker} />)
        )}
        <p className={styles.line}>{counted(targets, "target")}</p>
      </div>
      {workers.length === 0 && (
        <Button
          size="xs"
          variant="default"
          aria-label={`Remove ${name}`}
          loading={remove.isPending}
          onClick={() =>
            remove.mutate(name, {
              onSuccess: () => say(`${name} is removed; its history stays.`),
              onError: (error) => complain("Not removed", error),
            })
          }
        >
          Remove
        </Button>
      )}
    </li>
  );
}

function WorkerLine({ worker }: { worker: Worker }) {
  const off = Math.abs(worker.clock_off_ms);
  return (
    <p className={styles.line}>
      {worker.name}, {worker.version}
      {worker.remote && ", remote"} · {counted(worker.shards, "share")} · seen <Ago at={worker.seen_at} />
      {off > NOTICEABLE_MS && (
        <span className={styles.warning}>
          {" "}
          · its clock is {duration(off)} {worker.clock_off_ms > 0 ? "ahead" : "behind"}
        </span>
      )}
    </p>
  );
}
