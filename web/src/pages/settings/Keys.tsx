/** Keys for programs: made, shown once, revoked. */

import { Button, Modal, Select, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { problemFrom } from "@/api/client";
import { useCreateKey, useKeys, useRevokeKey } from "@/api/keys";
import type { ApiKey, NewApiKey, Scope } from "@/api/types";
import { Copy } from "@/parts/Copy";
import { Panel } from "@/parts/Panel";
import { Empty, Failed, Loading } from "@/parts/States";
import { Ago } from "@/parts/Time";
import { complain, say } from "@/parts/Toasts";
import styles from "./Settings.module.css";

const SCOPES: { value: Scope; label: string }[] = [
  { value: "read", label: "Read" },
  { value: "write", label: "Read and write" },
  { value: "admin", label: "Everything" },
  { value: "ingest", label: "Send documents only" },
  { value: "probe", label: "Probe from afar only" },
];

export function Keys() {
  const { data, error, isPending, refetch } = useKeys();
  const [made, setMade] = useState<NewApiKey | null>(null);
  const [revoking, setRevoking] = useState<ApiKey | null>(null);
  return (
    <Panel title="API keys" flush>
      <NewKey made={setMade} />
      {made !== null && <Once made={made} done={() => setMade(null)} />}
      {isPending ? (
        <Loading rows={2} label="Loading the keys" />
      ) : data === undefined ? (
        <Failed error={error} what="the keys" retry={() => void refetch()} />
      ) : data.length === 0 ? (
        <Empty title="No key yet">Programs use one in the header Authorization: Bearer.</Empty>
      ) : (
        <ul className={styles.list}>
          {data.map((each) => (
            <li key={each.id} className={styles.item}>
              <div>
                <p className={styles.name}>{each.name}</p>
                <p className={styles.line}>
                  {each.scopes.join(", ")} · made <Ago at={each.created_at} /> ·{" "}
                  {each.last_used_at === null ? (
                    "never used"
                  ) : (
                    <>
                      used <Ago at={each.last_used_at} />
                    </>
                  )}
                </p>
              </div>
              <Button
                size="xs"
                variant="default"
                aria-label={`Revoke ${each.name}`}
                onClick={() => setRevoking(each)}
              >
                Revoke
              </Button>
            </li>
          ))}
        </ul>
      )}
      {revoking !== null && <Revoke revoking={revoking} close={() => setRevoking(null)} />}
    </Panel>
  );
}

function NewKey({ made }: { made: (key: NewApiKey) => void }) {
  const [name, setName] = useState("");
  const [scope, setScope] = useState<Scope>("read");
  const create = useCreateKey();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    create.mutate(
      { name, scopes: [scope] },
      {
        onSuccess: (key) => {
          made(key);
          setName("");
        },
      },
    );
  };
  return (
    <form className={styles.add} onSubmit={submit} aria-label="New key">
      <TextInput
        label="Name"
        placeholder="deploy job"
        value={name}
        error={create.isError ? problemFrom(create.error).message : undefined}
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <Select
        label="May"
        data={SCOPES}
        value={scope}
        allowDeselect={false}
        onChange={(value) => setScope(value ?? "read")}
      />
      <Button type="submit" disabled={name.trim() === ""} loading={create.isPending}>
        Make a key
      </Button>
    </form>
  );
}

function Once({ made, done }: { made: NewApiKey; done: () => void }) {
  return (
    <div className={styles.once} role="status">
      <p>
        This is the key <b>{made.name}</b>. Copy it now: only its hash is stored, and it is never shown again.
      </p>
      <div className={styles.key}>
        <code>{made.key}</code>
        <Copy text={made.key} what="the key" label="Copy" />
      </div>
      <Button size="xs" variant="default" onClick={done} w="fit-content">
        I have it
      </Button>
    </div>
  );
}

function Revoke({ revoking, close }: { revoking: ApiKey; close: () => void }) {
  const [typed, setTyped] = useState("");
  const revoke = useRevokeKey();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (typed !== revoking.name) return;
    revoke.mutate(revoking.id, {
      onSuccess: () => {
        say(`${revoking.name} is revoked.`);
        close();
      },
      onError: (error) => complain(`${revoking.name} not revoked`, error),
    });
  };
  return (
    <Modal opened onClose={close} title={`Revoke ${revoking.name}?`}>
      <form className={styles.form} onSubmit={submit}>
        <p>Whatever uses this key stops working at once. This cannot be undone.</p>
        <TextInput
          data-autofocus
          label={`Type its name, ${revoking.name}`}
          value={typed}
          autoComplete="off"
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <Button type="submit" color="red" disabled={typed !== revoking.name} loading={revoke.isPending}>
          Revoke
        </Button>
      </form>
    </Modal>
  );
}
