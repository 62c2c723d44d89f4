/** The ways to tell somebody: made, tested, switched off, deleted. */

import { ActionIcon, Button, Menu } from "@mantine/core";
import { useState } from "react";
import { useChannelKinds, useChannels, useSaveChannel, useTestChannel } from "@/api/alerting";
import type { Channel, Notification } from "@/api/types";
import { Icon } from "@/parts/Icon";
import { Sign, type SignName } from "@/parts/Sign";
import { Empty, Failed, Loading } from "@/parts/States";
import { Ago } from "@/parts/Time";
import { complain, say } from "@/parts/Toasts";
import { statusSign, STATUS_WORD } from "./statuses";
import { ChannelForm } from "./ChannelForm";
import { DeleteChannel } from "./DeleteChannel";
import styles from "./list.module.css";

type Open = { form: Channel | null } | { deleting: Channel } | null;

export function Channels() {
  const { data, error, isPending, refetch } = useChannels();
  const kinds = useChannelKinds();
  const [open, setOpen] = useState<Open>(null);
  const close = () => setOpen(null);

  if (isPending || kinds.isPending) return <Loading rows={4} label="Loading the channels" />;
  if (data === undefined || kinds.data === undefined) {
    return (
      <Failed
        error={error ?? kinds.error}
        what="the channels"
        retry={() => void Promise.all([refetch(), kinds.refetch()])}
      />
    );
  }
  const titles = new Map(kinds.data.map(({ kind, title }) => [kind, title]));
  return (
    <>
      <div className={styles.head}>
        <p className="muted">A channel is one way to tell somebody. Rules say what goes where.</p>
        <Button
          size="xs"
          leftSection={<Icon name="plus" size={14} />}
          onClick={() => setOpen({ form: null })}
        >
          Add a channel
        </Button>
      </div>
      {data.length === 0 ? (
        <Empty title="Nobody is told yet">
          Add a channel, such as e-mail or a webhook. The default rule then sends it what goes down and what
          recovers.
        </Empty>
      ) : (
        <ul className={styles.list}>
          {data.map((channel) => (
            <Item
              key={channel.id}
              channel={channel}
              title={titles.get(channel.kind) ?? channel.kind}
              edit={() => setOpen({ form: channel })}
              remove={() => setOpen({ deleting: channel })}
            />
          ))}
        </ul>
      )}
      {open !== null && "form" in open && (
        <ChannelForm kinds={kinds.data} channel={open.form} close={close} />
      )}
      {open !== null && "deleting" in open && <DeleteChannel channel={open.deleting} close={close} />}
    </>
  );
}

interface ItemProps {
  channel: Channel;
  title: string;
  edit: () => void;
  remove: () => void;
}

function Item({ channel, title, edit, remove }: ItemProps) {
  const save = useSaveChannel();
  const test = useTestChannel();
  const toggle = () => {
    const enabled = !channel.enabled;
    const change = (to: boolean, undo?: () => void) =>
      save.mutate(
        { id: channel.id, draft: { enabled: to } },
        {
          onSuccess: () => say(`${channel.name} is ${to ? "on" : "off"}.`, undo),
          onError: (error) => complain(`${channel.name} not changed`, error),
        },
      );
    change(enabled, () => change(!enabled));
  };
  const runTest = () =>
    test.mutate(
      { id: channel.id },
      {
        onSuccess: (answer) =>
          answer.ok
            ? say(`${channel.name} took the test message. ${answer.detail}`)
            : complain(`${channel.name} did not take the test message`, new Error(answer.detail)),
        onError: (error) => complain(`${channel.name} not tested`, error),
      },
    );
  return (
    <li className={styles.item}>
      <Sign of={signOf(channel)} />
      <div>
        <p className={styles.name}>{channel.name}</p>
        <p
          className={`${styles.line ?? ""} ${styles.few ?? ""}`}
          data-tip={(channel.last_delivery?.detail ?? "") || undefined}
        >
          {title} · <LastDelivery channel={channel} />
        </p>
      </div>
      <div className={styles.actions}>
        <Button size="xs" variant="default" onClick={runTest} loading={test.isPending}>
          Test
        </Button>
        <Button size="xs" variant="default" onClick={edit}>
          Edit
        </Button>
        <Menu position="bottom-end">
          <Menu.Target>
            <ActionIcon size={30} aria-label={`More for ${channel.name}`}>
              <Icon name="more" />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={toggle}>{channel.enabled ? "Switch off" : "Switch on"}</Menu.Item>
            <Menu.Item c="var(--down)" onClick={remove}>
              Delete
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </div>
    </li>
  );
}

function LastDelivery({ channel }: { channel: Channel }) {
  if (!channel.enabled) return <>switched off</>;
  const last = channel.last_delivery;
  if (last === null) return <>nothing sent yet</>;
  return (
    <>
      {STATUS_WORD[last.status]} <Ago at={last.at} />
      {last.detail !== "" && (
        <span className={failed(last.status) ? styles.bad : undefined}> · {last.detail}</span>
      )}
    </>
  );
}

function signOf(channel: Channel): SignName {
  if (!channel.enabled) return "paused";
  const last = channel.last_delivery;
  if (last === null) return "unknown";
  return statusSign(last.status, last.detail !== "");
}

function failed(status: Notification["status"]): boolean {
  return status === "refused" || status === "abandoned";
}
