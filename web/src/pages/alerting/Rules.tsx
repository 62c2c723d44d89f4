/** What is told to whom. */

import { ActionIcon, Button, Menu } from "@mantine/core";
import { useState } from "react";
import { Link } from "wouter";
import { useChannels, useDeleteRule, useRules, useSaveRule } from "@/api/alerting";
import { useMachines } from "@/api/machines";
import { useTargets } from "@/api/targets";
import type { Rule } from "@/api/types";
import { Icon } from "@/parts/Icon";
import { Sign } from "@/parts/Sign";
import { Empty, Failed, Loading } from "@/parts/States";
import { complain, say } from "@/parts/Toasts";
import { duration } from "@/words/time";
import { EVENT_WORD } from "./events";
import styles from "./list.module.css";
import { RuleForm } from "./RuleForm";

export function Rules() {
  const { data, error, isPending, refetch } = useRules();
  const channels = useChannels();
  const [open, setOpen] = useState<{ rule: Rule | null } | null>(null);

  if (isPending || channels.isPending) return <Loading rows={4} label="Loading the rules" />;
  if (data === undefined || channels.data === undefined) {
    return (
      <Failed
        error={error ?? channels.error}
        what="the rules"
        retry={() => void Promise.all([refetch(), channels.refetch()])}
      />
    );
  }
  return (
    <>
      <div className={styles.head}>
        <p className="muted">
          Rules add up: each says what is told where, and nobody is told the same twice.
        </p>
        <Button
          size="xs"
          leftSection={<Icon name="plus" size={14} />}
          onClick={() => setOpen({ rule: null })}
        >
          Add a rule
        </Button>
      </div>
      {channels.data.length === 0 && (
        <p className={styles.said}>
          No rule can tell anybody yet:{" "}
          <Link href="/alerting/channels" className="link">
            add a channel
          </Link>{" "}
          first.
        </p>
      )}
      {data.length === 0 ? (
        <Empty title="No rule" />
      ) : (
        <ul className={styles.list}>
          {data.map((rule) => (
            <Item
              key={rule.id}
              rule={rule}
              channels={channels.data
                .filter((channel) => rule.channel_ids.includes(channel.id))
                .map(({ name }) => name)}
              edit={() => setOpen({ rule })}
            />
          ))}
        </ul>
      )}
      {open !== null && <RuleForm rule={open.rule} channels={channels.data} close={() => setOpen(null)} />}
    </>
  );
}

interface ItemProps {
  rule: Rule;
  channels: readonly string[];
  edit: () => void;
}

function Item({ rule, channels, edit }: ItemProps) {
  const save = useSaveRule();
  const remove = useDeleteRule();
  const targets = useTargets();
  const machines = useMachines();
  const names = [
    ...(targets.data ?? []).filter(({ id }) => rule.target_ids.includes(id)),
    ...(machines.data ?? []).filter(({ id }) => rule.machine_ids.includes(id)),
  ].map(({ name }) => name);
  const failed = (error: unknown) => complain(`${rule.name} not changed`, error);
  const toggle = () => {
    const change = (to: boolean, undo?: () => void) =>
      save.mutate(
        { id: rule.id, draft: { enabled: to } },
        { onSuccess: () => say(`${rule.name} is ${to ? "on" : "off"}.`, undo), onError: failed },
      );
    change(!rule.enabled, () => change(rule.enabled));
  };
  const removeRule = () => {
    const { id, is_default, ...draft } = rule;
    remove.mutate(rule.id, {
      onSuccess: () =>
        say(`${rule.name} is deleted.`, () => save.mutate({ id: null, draft }, { onError: failed })),
      onError: failed,
    });
  };
  return (
    <li className={styles.item}>
      <Sign of={rule.enabled ? "up" : "paused"} label={rule.enabled ? "on" : "off"} />
      <div>
        <p className={styles.name}>{rule.name}</p>
        <p className={styles.line}>{spoken(rule, channels, names)}</p>
      </div>
      <div className={styles.actions}>
        <Button size="xs" variant="default" onClick={edit}>
          Edit
        </Button>
        <Menu position="bottom-end">
          <Menu.Target>
            <ActionIcon size={30} aria-label={`More for ${rule.name}`}>
              <Icon name="more" />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={toggle}>{rule.enabled ? "Switch off" : "Switch on"}</Menu.Item>
            {!rule.is_default && (
              <Menu.Item c="var(--down)" onClick={removeRule}>
                Delete
              </Menu.Item>
            )}
          </Menu.Dropdown>
        </Menu>
      </div>
    </li>
  );
}

/** "When something goes down or recovers, tell on-call. Again every 30 min." */
function spoken(rule: Rule, channels: readonly string[], named: readonly string[]): string {
  const chosen = [...named, ...rule.tags.map((tag) => `everything tagged ${tag}`)];
  const who = chosen.length > 0 ? joined(chosen, "or") : "any target or machine";
  const events = joined(
    rule.events.map((event) => EVENT_WORD[event]),
    "or",
  );
  const told = channels.length > 0 ? joined(channels, "and") : rule.is_default ? "every channel" : "nobody";
  const again =
    rule.reminder_s === null ? "" : ` Again every ${duration(rule.reminder_s * 1_000)} while it lasts.`;
  return `When ${who} ${events}, tell ${told}.${again}`;
}

function joined(words: readonly string[], last: string): string {
  if (words.length < 2) return words[0] ?? "";
  return `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1) ?? ""}`;
}
