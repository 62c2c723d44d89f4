/** Deleting cannot be undone, so it asks for the name (of many: for their number). */

import { Button, Modal, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { problemFrom } from "@/api/client";
import { useDeleteTargets } from "@/api/targets";
import type { Target } from "@/api/types";
import styles from "./DeleteTargets.module.css";
import { say } from "./Toasts";

interface Props {
  targets: readonly Pick<Target, "id" | "name">[];
  close: () => void;
  deleted: () => void;
}

export function DeleteTargets({ targets, close, deleted }: Props) {
  const [typed, setTyped] = useState("");
  const remove = useDeleteTargets();
  const only = targets.length === 1 ? targets[0] : undefined;
  const wanted = only === undefined ? String(targets.length) : only.name;
  const who = only === undefined ? `${targets.length} targets` : only.name;

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (typed !== wanted) return;
    remove.mutate(
      targets.map((target) => target.id),
      {
        onSuccess: () => {
          say(`${who} deleted.`);
          close();
          deleted();
        },
      },
    );
  };

  return (
    <Modal opened onClose={close} title={`Delete ${who}?`}>
      <form onSubmit={submit} className={styles.form}>
        <p>
          The {only === undefined ? "targets and all their" : "target and all its"} checks, evidence and
          history go. This cannot be undone. To only stop checking, pause {only === undefined ? "them" : "it"}
          .
        </p>
        <TextInput
          data-autofocus
          label={only === undefined ? `Type the number of targets, ${wanted}` : `Type its name, ${wanted}`}
          value={typed}
          autoComplete="off"
          error={remove.isError ? problemFrom(remove.error).message : undefined}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <div className={styles.actions}>
          <Button variant="default" onClick={close}>
            Keep
          </Button>
          <Button type="submit" color="red" disabled={typed !== wanted} loading={remove.isPending}>
            Delete
          </Button>
        </div>
      </form>
    </Modal>
  );
}
