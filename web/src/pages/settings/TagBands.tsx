/** What machines with a tag are judged by. */

import { Autocomplete, Button, Modal } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { Problem, problemFrom, type FieldError } from "@/api/client";
import { useDeleteTagBands, usePutTagBands, useTagBands } from "@/api/bands";
import { useMachines } from "@/api/machines";
import type { AllTagBands, TagBands as OfTag } from "@/api/machineTypes";
import { BandFields } from "@/parts/bands/BandFields";
import { bandsOf, briefly, draftOf, hasField, type Draft } from "@/parts/bands/bands";
import { choices } from "@/parts/choices";
import { Panel } from "@/parts/Panel";
import { Empty, Failed, Loading } from "@/parts/States";
import { complain, say } from "@/parts/Toasts";
import { counted } from "@/words/numbers";
import styles from "./Settings.module.css";

/** Of a tag that is new. */
const NEW: OfTag = { tag: "", bands: {} };

export function TagBands() {
  const { data, error, isPending, refetch } = useTagBands();
  const [edited, setEdited] = useState<OfTag | null>(null);
  return (
    <Panel
      title="Bands of machines, by tag"
      aside={
        <Button size="xs" variant="default" onClick={() => setEdited(NEW)} disabled={data === undefined}>
          Add a tag
        </Button>
      }
      flush
    >
      {isPending ? (
        <Loading rows={2} label="Loading the bands" />
      ) : data === undefined ? (
        <Failed error={error} what="the bands" retry={() => void refetch()} />
      ) : data.items.length === 0 ? (
        <Empty title="All machines are judged as usual">
          A machine has bands of its own in its settings; a tag judges many of them alike.
        </Empty>
      ) : (
        <ul className={styles.list}>
          {data.items.map((each) => (
            <Entry key={each.tag} entry={each} edit={() => setEdited(each)} />
          ))}
        </ul>
      )}
      {edited !== null && data !== undefined && (
        <Editor edited={edited} usual={data.usual} close={() => setEdited(null)} />
      )}
    </Panel>
  );
}

function Entry({ entry, edit }: { entry: OfTag; edit: () => void }) {
  const { tag, bands } = entry;
  const { data: machines } = useMachines();
  const remove = useDeleteTagBands();
  const having = machines?.filter((machine) => machine.tags.includes(tag)).length;
  return (
    <li className={styles.item}>
      <div>
        <p className={styles.name}>{tag}</p>
        <p className={styles.line}>{briefly(bands)}</p>
        {having !== undefined && <p className={styles.line}>{counted(having, "machine")}</p>}
      </div>
      <div className={styles.buttons}>
        <Button size="xs" variant="default" aria-label={`Edit ${tag}`} onClick={edit}>
          Edit
        </Button>
        <Button
          size="xs"
          variant="default"
          aria-label={`Remove ${tag}`}
          loading={remove.isPending}
          onClick={() =>
            remove.mutate(tag, {
              onSuccess: () => say(`Machines with the tag ${tag} are judged as usual.`),
              onError: (error) => complain("Not removed", error),
            })
          }
        >
          Remove
        </Button>
      </div>
    </li>
  );
}

interface EditorProps {
  edited: OfTag;
  usual: AllTagBands["usual"];
  close: () => void;
}

function Editor({ edited, usual, close }: EditorProps) {
  const isNew = edited === NEW;
  const [tag, setTag] = useState(edited.tag);
  const [draft, setDraft] = useState<Draft>(() => draftOf(edited.bands));
  const machines = useMachines();
  const put = usePutTagBands();
  const errors: readonly FieldError[] = put.error instanceof Problem ? put.error.fields : [];
  const of = (field: string) =>
    errors
      .filter((error) => error.field === field)
      .map((error) => error.message)
      .join("; ") || undefined;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (put.isPending || tag.trim() === "") return;
    put.mutate(
      { tag: tag.trim(), bands: bandsOf(draft) },
      {
        onSuccess: (saved) => {
          say(`Machines with the tag ${saved.tag} are judged by these.`);
          close();
        },
      },
    );
  };
  return (
    <Modal
      opened
      onClose={close}
      size="xl"
      title={isNew ? "Bands of a tag" : `Bands of the tag ${edited.tag}`}
    >
      <form className={styles.wide} onSubmit={submit} noValidate aria-label="Bands of a tag">
        {isNew && (
          <Autocomplete
            data-autofocus
            label="Tag"
            value={tag}
            data={choices(machines.data ?? [], (each) => each.tags).map((choice) => choice.value)}
            error={of("tag")}
            onChange={setTag}
          />
        )}
        <BandFields
          help="What is left empty is as usual: those values stand in grey. What a machine says of itself in its settings goes before."
          inForce={usual}
          draft={draft}
          change={setDraft}
          error={of}
        />
        {put.isError && !errors.some((error) => error.field === "tag" || hasField(error.field)) && (
          <p className={styles.general} role="alert">
            {problemFrom(put.error).message}
          </p>
        )}
        <div className={styles.buttons}>
          <Button type="submit" disabled={tag.trim() === ""} loading={put.isPending}>
            Save
          </Button>
          <Button variant="subtle" color="gray" onClick={close}>
            Cancel
          </Button>
        </div>
      </form>
    </Modal>
  );
}
