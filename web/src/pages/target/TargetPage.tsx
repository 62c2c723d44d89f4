/** One target: how it is, why, how it was, and everything that was seen. */

import { lazy, Suspense } from "react";
import { Link } from "wouter";
import { Problem } from "@/api/client";
import { useTarget } from "@/api/targets";
import { Panel } from "@/parts/Panel";
import { Empty, Failed, Loading, Stale } from "@/parts/States";
import { CertificatePanel } from "./CertificatePanel";
import { Checks } from "./Checks";
import { EvidenceDrawer } from "./EvidenceDrawer";
import { Facts } from "./Facts";
import { Header } from "./Header";
import { LocationsPanel } from "./LocationsPanel";
import styles from "./TargetPage.module.css";
import { Transitions } from "./Transitions";
import { UptimeTiles } from "./UptimeTiles";

const LatencyPanel = lazy(() => import("./LatencyPanel"));
const HeartbeatPanel = lazy(() => import("./HeartbeatPanel"));

export default function TargetPage({ id }: { id: number }) {
  const { data: target, error, isPending, refetch } = useTarget(id);

  if (error instanceof Problem && error.status === 404) {
    return (
      <Empty title="This target does not exist, or was deleted">
        <Link href="/targets" className="link">
          All targets
        </Link>
      </Empty>
    );
  }
  if (isPending) return <Loading rows={8} label="Loading the target" />;
  if (target === undefined) return <Failed error={error} what="this target" retry={() => void refetch()} />;

  const pingUrl = target.ping_url ?? null;
  const states = target.location_states ?? [];
  const severalLocations = states.length > 1;
  return (
    <article className={styles.page} aria-label={target.name}>
      <Header target={target} />
      {error !== null && <Stale error={error} />}
      <UptimeTiles id={id} />
      {(severalLocations || (states.length > 0 && target.locations.length > 0)) && (
        <LocationsPanel target={target} states={states} />
      )}
      {pingUrl !== null && (
        <Suspense fallback={<Loading rows={3} />}>
          <HeartbeatPanel id={id} pingUrl={pingUrl} />
        </Suspense>
      )}
      <Suspense
        fallback={
          <Panel title="Latency">
            <Loading rows={4} />
          </Panel>
        }
      >
        <LatencyPanel id={id} createdAt={target.created_at} intervalS={target.interval_s} />
      </Suspense>
      <div className={styles.columns}>
        <Transitions id={id} />
        <div className={styles.side}>
          {target.certificate_expires_at !== null && (
            <CertificatePanel
              expiresAt={target.certificate_expires_at}
              warningDays={target.certificate_warning_days}
            />
          )}
          <Facts target={target} />
        </div>
      </div>
      <Checks id={id} severalLocations={severalLocations} />
      <EvidenceDrawer id={id} />
    </article>
  );
}
