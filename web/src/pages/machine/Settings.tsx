/** What people set of a machine: name, tags, when it is too much; and the way to remove it. */

import { Button, Modal, TagsInput, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { Link, useLocation } from "wouter";
import { Problem, problemFrom, type FieldError } from "@/api/client";
import { useChangeMachine, useDeleteMachine, useMachines } from "@/api/machines";
import type { Machine } from "@/api/machineTypes";
import { BackLink } from "@/parts/BackLink";
import { BandFields } from "@/parts/bands/BandFields";
import { bandsOf, draftOf, hasField, type Draft } from "@/parts/bands/bands";
import { choices } from "@/parts/choices";
import { Panel } from "@/parts/Panel";
import { say } from "@/parts/Toasts";
import styles from "./Settings.module.css";

export default function Settings({ machine }: { machine: Machine }) {
  return (
    <div className={styles.page}>
      <BackLink href={`/machines/${machine.id}`} label={machine.name} />
      <h1>Settings of {machine.name}</h1>
      <Form machine={machine} />
      <Removal machine={machine} />
    </div>
  );
}

function Form({ machine }: { machine: Machine }) {
  const [name, setName] = useState(machine.name);
  const [tags, setTags] = useState<string[]>(machine.tags);
  const [draft, setDraft] = useState<Draft>(() => draftOf(machine.own_bands));
  const change = useChangeMachine(machine.id);
  const known = useMachines();
  const [, go] = useLocation();

  const errors: readonly FieldError[] = change.error instanceof Problem ? change.error.fields : [];
  const of = (field: string) =>
    errors
      .filter((error) => error.field === field || (field === "tags" && error.field.startsWith("tags.")))
      .map((error) => error.message)
      .join("; ") || undefined;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (change.isPending) return;
    change.mutate(
      {
        ...(name === machine.name ? {} : { name }),
        ...(tags.join("\n") === machine.tags.join("\n") ? {} : { tags }),
        bands: bandsOf(draft),
      },
      {
        onSuccess: (saved) => {
          say(`${saved.name} is saved.`);
          go(`/machines/${machine.id}`);
        },
      },
    );
  };
  return (
    <form className={styles.form} onSubmit={submit} noValidate aria-label="Machine">
      <TextInput
        label="Name"
        value={name}
        error={of("name")}
        autoComplete="off"
        onChange={(event) => setName(event.currentTarget.value)}
      />
      <TagsInput
        label="Tags"
        value={tags}
        data={choices(known.data ?? [], (each) => each.tags).map((choice) => choice.value)}
        error={of("tags")}
        acceptValueOnBlur
        splitChars={[","]}
        onChange={setTags}
      />
      <BandFields
        help="What is left empty comes from the bands of its tags, or is as usual: those values stand in grey."
        inForce={machine.bands}
        draft={draft}
        change={setDraft}
        error={(field) => of(`bands.${field}`)}
      />
      {change.isError && !errors.some((error) => of(error.field) !== undefined && isShown(error.field)) && (
        <p className={styles.general} role="alert">
          {problemFrom(change.error).message}
        </p>
      )}
      <div className={styles.actions}>
        <Button type="submit" loading={change.isPending}>
          Save
        </Button>
        <Button variant="subtle" color="gray" component={Link} href={`/machines/${machine.id}`}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

/** Whether some field of the form shows what is wrong with it. */
function isShown(field: string): boolean {
  return field === "name" || field.startsWith("tags") || hasField(field.replace(/^bands\./, ""));
}

function Removal({ machine }: { machine: Machine }) {
  const [asked, setAsked] = useState(false);
  return (
    <Panel title="Remove this machine">
      <div className={styles.removal}>
        <p className="muted">
          Its samples and history go. Stop its collector or revoke its key first: should it report again, it
          comes back as a new machine.
        </p>
        <Button variant="default" c="var(--down)" onClick={() => setAsked(true)}>
          Remove
        </Button>
      </div>
      {asked && <Remove machine={machine} close={() => setAsked(false)} />}
    </Panel>
  );
}

function Remove({ machine, close }: { machine: Machine; close: () => void }) {
  const [typed, setTyped] = useState("");
  const remove = useDeleteMachine();
  const [, go] = useLocation();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (typed !== machine.name) return;
    remove.mutate(machine.id, {
      onSuccess: () => {
        say(`${machine.name} is removed.`);
        go("/machines");
      },
    });
  };
  return (
    <Modal opened onClose={close} title={`Remove ${machine.name}?`}>
      <form onSubmit={submit} className={styles.form}>
        <p>The machine, its samples and its history go. This cannot be undone.</p>
        <TextInput
          data-autofocus
          label={`Type its name, ${machine.name}`}
          value={typed}
          autoComplete="off"
          error={remove.isError ? problemFrom(remove.error).message : undefined}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <div className={styles.actions}>
          <Button type="submit" color="red" disabled={typed !== machine.name} loading={remove.isPending}>
            Remove
          </Button>
          <Button variant="default" onClick={close}>
            Keep
          </Button>
        </div>
      </form>
    </Modal>
  );
}
