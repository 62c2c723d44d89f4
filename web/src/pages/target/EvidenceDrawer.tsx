/** What one check saw. Open while the address names a check, so that it can be sent to somebody. */

import { Drawer } from "@mantine/core";
import { useSearchParams } from "wouter";
import { useEvidence } from "@/api/history";
import { Problem } from "@/api/client";
import { Copy } from "@/parts/Copy";
import { ExaminationView } from "@/parts/examination/ExaminationView";
import { Empty, Failed, Loading } from "@/parts/States";
import { exact } from "@/words/time";
import styles from "./EvidenceDrawer.module.css";
import { without } from "./windows";

export function EvidenceDrawer({ id }: { id: number }) {
  const [parameters, setParameters] = useSearchParams();
  const atMs = Number(parameters.get("check") ?? NaN);
  const close = () => setParameters(without(parameters, ["check"]), { replace: true });
  const open = Number.isFinite(atMs);
  return (
    <Drawer opened={open} onClose={close} title={open ? exact(atMs) : ""} position="right" size="lg">
      {open && <Seen id={id} atMs={atMs} />}
    </Drawer>
  );
}

function Seen({ id, atMs }: { id: number; atMs: number }) {
  const { data, error, isPending, refetch } = useEvidence(id, atMs);
  if (isPending) return <Loading rows={6} label="Loading the evidence" />;
  if (error instanceof Problem && error.status === 404) {
    return (
      <Empty title="No evidence is kept of this check">
        Evidence is kept with checks that did not pass, for as long as raw checks are.
      </Empty>
    );
  }
  if (data === undefined) return <Failed error={error} what="the evidence" retry={() => void refetch()} />;
  return (
    <>
      <p className={styles.line}>
        <span className="muted">from {data.location}</span>
        <Copy text={window.location.href} what="the address of this evidence" label="Copy link" />
      </p>
      <ExaminationView examination={data} />
    </>
  );
}
