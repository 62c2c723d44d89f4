/** Deleting a channel cannot be undone, so it asks for the name. */

import { Button, Modal, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { useDeleteChannel } from "@/api/alerting";
import { problemFrom } from "@/api/client";
import type { Channel } from "@/api/types";
import { say } from "@/parts/Toasts";
import styles from "./list.module.css";

export function DeleteChannel({ channel, close }: { channel: Channel; close: () => void }) {
  const [typed, setTyped] = useState("");
  const remove = useDeleteChannel();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (typed !== channel.name) return;
    remove.mutate(channel.id, {
      onSuccess: () => {
        say(`${channel.name} is deleted.`);
        close();
      },
    });
  };
  return (
    <Modal opened onClose={close} title={`Delete ${channel.name}?`}>
      <form onSubmit={submit} className={styles.form}>
        <p>
          Its secrets go with it, and rules that name it send nothing there any more. To only silence it,
          switch it off.
        </p>
        <TextInput
          data-autofocus
          label={`Type its name, ${channel.name}`}
          value={typed}
          autoComplete="off"
          error={remove.isError ? problemFrom(remove.error).message : undefined}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <div className={styles.buttons}>
          <Button variant="default" onClick={close}>
            Keep
          </Button>
          <Button type="submit" color="red" disabled={typed !== channel.name} loading={remove.isPending}>
            Delete
          </Button>
        </div>
      </form>
    </Modal>
  );
}
