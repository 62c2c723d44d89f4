/** One machine: how it is, why, how it was, and what runs on it. */

import { lazy, Suspense } from "react";
import { Link } from "wouter";
import { Problem } from "@/api/client";
import { useLiveState } from "@/api/live";
import { useMachine } from "@/api/machines";
import { Empty, Failed, Loading, Stale } from "@/parts/States";
import { Facts } from "./Facts";
import { Header } from "./Header";
import styles from "./MachinePage.module.css";
import { Now } from "./Now";
import { Processes } from "./Processes";
import { Transitions } from "./Transitions";

const Charts = lazy(() => import("./Charts"));
const Settings = lazy(() => import("./Settings"));

export default function MachinePage({ id, settings = false }: { id: number; settings?: boolean }) {
  const { data: machine, error, isPending, isPlaceholderData, refetch } = useMachine(id);
  const live = useLiveState();

  if (error instanceof Problem && error.status === 404) {
    return (
      <Empty title="This machine does not exist, or was removed">
        <Link href="/machines" className="link">
          All machines
        </Link>
      </Empty>
    );
  }
  if (isPending) return <Loading rows={8} label="Loading the machine" />;
  if (machine === undefined) return <Failed error={error} what="this machine" retry={() => void refetch()} />;
  if (settings) {
    return (
      <Suspense fallback={<Loading rows={8} label="Loading the settings" />}>
        <Settings machine={machine} />
      </Suspense>
    );
  }
  return (
    <article className={styles.page} aria-label={machine.name}>
      <Header machine={machine} />
      {error !== null && <Stale error={error} />}
      {error === null && live === "reconnecting" && (
        <p className={styles.standing} role="status">
          The live connection is broken: these numbers are asked for every few seconds until it is back.
        </p>
      )}
      <Now machine={machine} />
      <Suspense fallback={<Loading rows={6} label="Loading the charts" />}>
        <Charts machine={machine} loading={isPlaceholderData} />
      </Suspense>
      <div className={styles.columns}>
        <div className={styles.side}>
          <Processes machine={machine} />
          <Transitions id={id} />
        </div>
        <Facts machine={machine} />
      </div>
    </article>
  );
}
