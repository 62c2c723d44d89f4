/** What one check saw. Open while the address names a check, so that it can be sent to somebody. */

import { Drawer } from "@mantine/core";
import { useEvidence } from "@/api/history";
import { Problem } from "@/api/client";
import { Copy } from "@/parts/Copy";
import { ExaminationView } from "@/parts/examination/ExaminationView";
import { Empty, Failed, Loading } from "@/parts/States";
import { exact } from "@/words/time";
import { useOpenEvidence } from "./address";
import styles from "./EvidenceDrawer.module.css";

export function EvidenceDrawer({ id }: { id: number }) {
  const { opened, close } = useOpenEvidence();
  return (
    <Drawer
      opened={opened !== null}
      onClose={close}
      title={opened === null ? "" : exact(opened.atMs)}
      position="right"
      size="lg"
    >
      {opened !== null && <Seen id={id} {...opened} />}
    </Drawer>
  );
}

function Seen({ id, atMs, location }: { id: number; atMs: number; location: string }) {
  const { data, error, isPending, refetch } = useEvidence(id, atMs, location);
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
        {data.location !== null && <span className="muted">from {data.location}</span>}
        <Copy text={window.location.href} what="the address of this evidence" label="Copy link" />
      </p>
      <ExaminationView examination={data} />
    </>
  );
}
