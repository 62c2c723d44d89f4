/** Is anything wrong, what, since when, what changed. */

import { useOverview } from "@/api/overview";
import { Failed, Loading, Stale } from "@/parts/States";
import { Band } from "./Band";
import { FirstSteps } from "./FirstSteps";
import { Figures } from "./Figures";
import { Timeline } from "./Timeline";
import styles from "./Overview.module.css";

/** With no more targets than this the page still explains how to add the next one. */
const NEWCOMER_HAS = 2;

export default function Overview() {
  const { data, error, isPending, refetch } = useOverview();

  if (isPending) return <Loading rows={6} label="Loading the overview" />;
  if (data === undefined) return <Failed error={error} what="the overview" retry={() => void refetch()} />;

  const { counts } = data;
  const registered = counts.up + counts.degraded + counts.down + counts.unknown + counts.paused;
  return (
    <div className={styles.overview}>
      <h1 className="away">Overview</h1>
      {error !== null && <Stale error={error} />}
      <Band counts={counts} machines={data.machines} worst={data.worst} worstMachines={data.worst_machines} />
      {registered <= NEWCOMER_HAS && <FirstSteps registered={registered} />}
      <Figures overview={data} />
      <Timeline entries={data.timeline} />
    </div>
  );
}
