/** A key, the line to type on the machine, and the wait until it appears. */

import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { problemFrom } from "@/api/client";
import { useCreateKey } from "@/api/keys";
import { useOverview } from "@/api/overview";
import type { NewApiKey } from "@/api/types";
import { BackLink } from "@/parts/BackLink";
import { Copy } from "@/parts/Copy";
import { Icon } from "@/parts/Icon";
import { Failed, Loading } from "@/parts/States";
import styles from "./AddMachine.module.css";
import { Arrival } from "./Arrival";
import { aggregatorAt, command, container, isAggregator, unit, type Install } from "./install";

export default function AddMachine() {
  const [made, setMade] = useState<NewApiKey | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const { data: overview, error, isPending, refetch } = useOverview();
  if (isPending) return <Loading rows={4} label="Loading where machines report to" />;
  if (overview === undefined)
    return <Failed error={error} what="where machines report to" retry={() => void refetch()} />;
  const door = overview.aggregator;
  const aggregator = typed ?? (door === null ? "" : aggregatorAt(location.hostname, door));
  return (
    <div className={styles.page}>
      <BackLink href="/machines" label="Machines" />
      <h1>Add a machine</h1>
      {made === null ? (
        <>
          {door === null && (
            <p className={styles.closed} role="status">
              <Icon name="warning" size={14} /> No machine can report here: <code>TOCSIN_GRPC_PORT</code> is
              0. Set it to a port, 4317 as a rule, and restart Tocsin.
            </p>
          )}
          <NewKey aggregator={aggregator} setAggregator={setTyped} made={setMade} />
        </>
      ) : (
        <>
          <Lines install={{ aggregator, key: made.key }} />
          <Arrival keyId={made.id} aggregator={aggregator} another={() => setMade(null)} />
        </>
      )}
    </div>
  );
}

interface NewKeyProps {
  aggregator: string;
  setAggregator: (aggregator: string) => void;
  made: (key: NewApiKey) => void;
}

function NewKey({ aggregator, setAggregator, made }: NewKeyProps) {
  const [name, setName] = useState("");
  const create = useCreateKey();
  const understood = isAggregator(aggregator);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (name.trim() === "" || !understood || create.isPending) return;
    create.mutate({ name: name.trim(), scopes: ["ingest"] }, { onSuccess: made });
  };
  return (
    <form className={styles.form} onSubmit={submit} aria-label="New machine">
      <p className="muted">
        A small collector on the machine sends its processor, memory, disks and network here every few
        seconds, and keeps them on its own disk while it cannot reach this Tocsin. It gets a key of its own,
        so that you can revoke it alone.
      </p>
      <TextInput
        autoFocus
        label="What is the machine called?"
        description="The name of its key. The machine itself appears under its host name, which you can change later."
        inputWrapperOrder={["label", "input", "description", "error"]}
        placeholder="web-1"
        autoComplete="off"
        value={name}
        error={create.isError ? problemFrom(create.error).message : undefined}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <TextInput
        label="Where it reaches this Tocsin"
        description="Host and port of the aggregator, as seen from the machine."
        inputWrapperOrder={["label", "input", "description", "error"]}
        autoComplete="off"
        value={aggregator}
        error={understood ? undefined : "A host and a port, as in status.example:4317"}
        onChange={(event) => setAggregator(event.currentTarget.value.trim())}
      />
      <Button
        type="submit"
        w="fit-content"
        disabled={name.trim() === "" || !understood}
        loading={create.isPending}
      >
        Make the key and the command
      </Button>
    </form>
  );
}

const WAYS = {
  command: {
    label: "Command",
    text: command,
    hint: "Run it as any user, where Tocsin is installed. It goes on until you stop it; as a service it survives a restart.",
  },
  systemd: {
    label: "systemd",
    text: unit,
    hint: "Paste it into a shell of the machine, where Tocsin is in /opt/tocsin. It writes a service that starts with the machine.",
  },
  container: {
    label: "Container",
    text: container,
    hint: "The image is built from a checkout. It sees the host's processes, network and file systems, and can change none of them.",
  },
} as const;

type Way = keyof typeof WAYS;

function Lines({ install }: { install: Install }) {
  const [way, setWay] = useState<Way>("command");
  const { text, hint } = WAYS[way];
  return (
    <section className={styles.lines} aria-label="What to run on the machine">
      <div className={styles.ways}>
        <h2>On the machine, run</h2>
        <SegmentedControl
          size="xs"
          aria-label="How it is run"
          value={way}
          onChange={(value) => setWay(value)}
          data={Object.entries(WAYS).map(([value, { label }]) => ({ value: value as Way, label }))}
        />
      </div>
      <div className={styles.line}>
        <pre tabIndex={0} aria-label="What to run">
          {text(install)}
        </pre>
        <Copy text={text(install)} what="what to run" label="Copy" />
      </div>
      <p className="muted">{hint} The key in it is shown only now: only its hash is stored.</p>
    </section>
  );
}
