/** Making and changing a channel, with a test before it is saved. */

import { Button, Drawer, Select } from "@mantine/core";
import { useMemo, useState, type SubmitEvent } from "react";
import { useSaveChannel, useTestChannel } from "@/api/alerting";
import { problemFrom } from "@/api/client";
import type { Channel, ChannelKind } from "@/api/types";
import { useDraft, type Values } from "@/parts/form/draft";
import { Field } from "@/parts/form/Field";
import { fieldsOf, type FieldSpec } from "@/parts/form/spec";
import { say } from "@/parts/Toasts";
import styles from "./list.module.css";

interface Props {
  kinds: readonly ChannelKind[];
  channel: Channel | null;
  close: () => void;
}

const NAME: FieldSpec = {
  name: "name",
  label: "Name",
  help: "",
  control: "text",
  required: true,
  nullable: false,
  initial: "",
  example: "on-call",
  choices: [],
  min: null,
  max: null,
  maxLength: 200,
};

/** Switched in the list, not in the form. */
const ELSEWHERE: ReadonlySet<string> = new Set(["name", "kind", "enabled"]);

export function ChannelForm({ kinds, channel, close }: Props) {
  const [kindName, setKindName] = useState(channel?.kind ?? kinds[0]?.kind ?? "");
  const kind = kinds.find((each) => each.kind === kindName);
  const specs = useMemo(
    () => [
      NAME,
      ...(kind === undefined ? [] : fieldsOf(kind.schema).filter((spec) => !ELSEWHERE.has(spec.name))),
    ],
    [kind],
  );
  const draft = useDraft({ specs, base: channel ?? {} });
  const save = useSaveChannel();
  const test = useTestChannel();

  const whole = (): Values => (channel === null ? { ...draft.changed, kind: kindName } : draft.changed);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (!draft.ready()) return;
    save.mutate(
      { id: channel?.id ?? null, draft: whole() },
      {
        onSuccess: (saved) => {
          say(`${saved.name} is saved.`);
          close();
        },
        onError: draft.refuse,
      },
    );
  };
  const runTest = () => {
    if (draft.ready()) test.mutate({ id: channel?.id ?? null, draft: whole() }, { onError: draft.refuse });
  };

  return (
    <Drawer
      opened
      onClose={close}
      position="right"
      title={channel === null ? "Add a channel" : `Edit ${channel.name}`}
    >
      <form className={styles.form} onSubmit={submit} noValidate aria-label="Channel">
        {channel === null && (
          <Select
            label="Kind"
            data={kinds.map(({ kind: value, title }) => ({ value, label: title }))}
            value={kindName}
            allowDeselect={false}
            onChange={(value) => {
              setKindName(value ?? kindName);
              draft.reset("name" in draft.changed ? { name: draft.changed.name } : {});
              test.reset();
            }}
          />
        )}
        {specs.map((spec) => (
          <Field
            key={`${kindName} ${spec.name}`}
            spec={spec}
            draft={draft}
            secretsSet={channel?.secrets_set ?? []}
          />
        ))}
        {draft.general !== null && (
          <p className={styles.said} data-bad role="alert">
            {draft.general}
          </p>
        )}
        {test.isSuccess && (
          <p
            className={styles.said}
            data-good={test.data.ok || undefined}
            data-bad={!test.data.ok || undefined}
            role="status"
          >
            {test.data.ok ? "The test message was taken. " : "The test message was not taken. "}
            {test.data.detail}
          </p>
        )}
        {test.isError && problemFrom(test.error).fields.length === 0 && draft.general === null && (
          <p className={styles.said} data-bad role="alert">
            {problemFrom(test.error).message}
          </p>
        )}
        <div className={styles.buttons}>
          <Button variant="default" onClick={runTest} loading={test.isPending}>
            Send a test
          </Button>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
        </div>
      </form>
    </Drawer>
  );
}
