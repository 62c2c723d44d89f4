/** Making and changing a rule: for what, when, to whom, how often again. */

import { Button, Checkbox, Drawer, MultiSelect, NumberInput, TagsInput, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { useSaveRule } from "@/api/alerting";
import { problemFrom } from "@/api/client";
import { useMachines } from "@/api/machines";
import { useTargets } from "@/api/targets";
import type { Channel, Rule, RuleDraft } from "@/api/types";
import { say } from "@/parts/Toasts";
import { EVENTS } from "./events";
import styles from "./list.module.css";

interface Props {
  rule: Rule | null;
  channels: readonly Channel[];
  close: () => void;
}

const FRESH: RuleDraft = {
  name: "",
  enabled: true,
  target_ids: [],
  machine_ids: [],
  tags: [],
  events: ["down", "recovered", "certificate"],
  channel_ids: [],
  reminder_s: 3_600,
};

const MINUTE_S = 60;

export function RuleForm({ rule, channels, close }: Props) {
  const [draft, setDraft] = useState<RuleDraft>(() => (rule === null ? FRESH : draftOf(rule)));
  const save = useSaveRule();
  const targets = useTargets();
  const machines = useMachines();
  const change = (changes: Partial<RuleDraft>) => setDraft((before) => ({ ...before, ...changes }));
  const problem = save.isError ? problemFrom(save.error) : null;
  const errorOf = (field: string) =>
    problem?.fields.find((error) => error.field === field || error.field.startsWith(`${field}.`))?.message;
  const named = problem?.fields.some((error) => error.field !== "") ?? false;

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    save.mutate(
      { id: rule?.id ?? null, draft },
      {
        onSuccess: (saved) => {
          say(`${saved.name} is saved.`);
          close();
        },
      },
    );
  };

  return (
    <Drawer
      opened
      onClose={close}
      position="right"
      title={rule === null ? "Add a rule" : `Edit ${rule.name}`}
    >
      <form className={styles.form} onSubmit={submit} noValidate aria-label="Rule">
        <TextInput
          label="Name"
          value={draft.name}
          error={errorOf("name")}
          onChange={(event) => change({ name: event.currentTarget.value })}
        />
        <MultiSelect
          label="Targets"
          description="None here and below: every target and every machine."
          searchable
          limit={50}
          nothingFoundMessage="No target is called that"
          data={(targets.data ?? []).map(({ id, name }) => ({ value: String(id), label: name }))}
          value={draft.target_ids.map(String)}
          error={errorOf("target_ids")}
          onChange={(ids) => change({ target_ids: ids.map(Number) })}
        />
        <MultiSelect
          label="Machines"
          searchable
          limit={50}
          nothingFoundMessage="No machine is called that"
          data={(machines.data ?? []).map(({ id, name }) => ({ value: String(id), label: name }))}
          value={draft.machine_ids.map(String)}
          error={errorOf("machine_ids")}
          onChange={(ids) => change({ machine_ids: ids.map(Number) })}
        />
        <TagsInput
          label="And everything tagged"
          data={[
            ...new Set([...(targets.data ?? []), ...(machines.data ?? [])].flatMap(({ tags }) => tags)),
          ].sort()}
          value={draft.tags}
          error={errorOf("tags")}
          acceptValueOnBlur
          onChange={(tags) => change({ tags })}
        />
        <Checkbox.Group
          label="When it"
          value={draft.events}
          error={errorOf("events")}
          onChange={(events) =>
            change({ events: EVENTS.map(({ event }) => event).filter((event) => events.includes(event)) })
          }
        >
          <div className={styles.form} style={{ gap: 8, paddingTop: 8 }}>
            {EVENTS.map(({ event, label }) => (
              <Checkbox key={event} value={event} label={label} />
            ))}
          </div>
        </Checkbox.Group>
        <MultiSelect
          label="Tell"
          description={rule?.is_default === true ? "None: every channel there is." : undefined}
          placeholder={channels.length === 0 ? "There is no channel yet" : ""}
          data={channels.map(({ id, name }) => ({ value: String(id), label: name }))}
          value={draft.channel_ids.map(String)}
          error={errorOf("channel_ids")}
          onChange={(ids) => change({ channel_ids: ids.map(Number) })}
        />
        <NumberInput
          label="Again every, minutes"
          description="While it lasts. Empty: told once."
          hideControls
          min={1}
          value={draft.reminder_s === null ? "" : draft.reminder_s / MINUTE_S}
          error={errorOf("reminder_s")}
          onChange={(minutes) =>
            change({ reminder_s: typeof minutes === "number" ? minutes * MINUTE_S : null })
          }
        />
        {problem !== null && !named && (
          <p className={styles.said} data-bad role="alert">
            {problem.message}
          </p>
        )}
        <div className={styles.buttons}>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
        </div>
      </form>
    </Drawer>
  );
}

function draftOf(rule: Rule): RuleDraft {
  const { id, is_default, ...draft } = rule;
  return draft;
}
