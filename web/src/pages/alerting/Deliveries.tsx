/** Every message, every attempt to deliver it, and one more where it helps. */

import { Button, Select } from "@mantine/core";
import { useSearchParams } from "wouter";
import { useChannels, useNotifications, useRetryNotification } from "@/api/alerting";
import type { Notification } from "@/api/types";
import { Sign } from "@/parts/Sign";
import { Empty, Failed, Loading } from "@/parts/States";
import { Ago, Moment } from "@/parts/Time";
import { complain, say } from "@/parts/Toasts";
import { counted, latency } from "@/words/numbers";
import styles from "./Deliveries.module.css";
import list from "./list.module.css";
import { statusSign, STATUSES, STATUS_WORD } from "./statuses";

export function Deliveries() {
  const [parameters, setParameters] = useSearchParams();
  const channelId = parameters.get("channel") ?? "";
  const status = parameters.get("status") ?? "";
  const channels = useChannels();
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } =
    useNotifications({
      channelId,
      status,
    });
  const change = (name: string, value: string | null) => {
    const next = new URLSearchParams(parameters);
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
    setParameters(next, { replace: true });
  };
  const all = data?.pages.flatMap((page) => page.items) ?? [];

  return (
    <>
      <div className={styles.filters}>
        <Select
          size="xs"
          aria-label="Channel"
          placeholder="Any channel"
          clearable
          data={(channels.data ?? []).map(({ id, name }) => ({ value: String(id), label: name }))}
          value={channelId === "" ? null : channelId}
          onChange={(value) => change("channel", value)}
        />
        <Select
          size="xs"
          aria-label="Status"
          placeholder="Any status"
          clearable
          data={STATUSES}
          value={status === "" ? null : status}
          onChange={(value) => change("status", value)}
        />
      </div>
      {isPending ? (
        <Loading rows={4} label="Loading the deliveries" />
      ) : data === undefined ? (
        <Failed error={error} what="the deliveries" retry={() => void refetch()} />
      ) : all.length === 0 ? (
        <Empty
          title={channelId === "" && status === "" ? "Nothing has been sent yet" : "No message matches"}
        />
      ) : (
        <ul className={list.list}>
          {all.map((notification) => (
            <Item key={notification.id} notification={notification} />
          ))}
        </ul>
      )}
      {hasNextPage && (
        <Button variant="subtle" size="xs" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          Older
        </Button>
      )}
    </>
  );
}

function Item({ notification }: { notification: Notification }) {
  const retry = useRetryNotification();
  const { id, title, text, channel, status, attempts, created_at, next_attempt_at } = notification;
  const last = attempts.at(-1);
  return (
    <li className={styles.item}>
      <details>
        <summary className={styles.summary}>
          <Sign of={statusSign(status, last?.ok === false)} label={STATUS_WORD[status]} />
          <span className={styles.title}>{title}</span>
          <span className={styles.aside}>
            {channel.name} · {STATUS_WORD[status]} · <Ago at={created_at} />
          </span>
          {last?.ok === false && <span className={styles.last}>{last.detail}</span>}
        </summary>
        <div className={styles.body}>
          <pre className={styles.text} tabIndex={0} aria-label="Message">
            {text}
          </pre>
          <p className="muted">
            {counted(attempts.length, "attempt")}
            {next_attempt_at !== null && status === "pending" && (
              <>
                , next <Ago at={next_attempt_at} />
              </>
            )}
          </p>
          <ol className={styles.attempts}>
            {attempts.map((attempt) => (
              <li key={attempt.at}>
                <Sign of={attempt.ok ? "up" : "down"} size={10} label={attempt.ok ? "taken" : "not taken"} />
                <Moment at={attempt.at} seconds />
                <span className="muted">{latency(attempt.duration_ms)}</span>
                <span className={styles.detail}>{attempt.detail}</span>
              </li>
            ))}
          </ol>
          {status !== "delivered" && (
            <Button
              size="xs"
              variant="default"
              loading={retry.isPending}
              onClick={() =>
                retry.mutate(id, {
                  onSuccess: () => say("It is tried again."),
                  onError: (error) => complain("Not tried again", error),
                })
              }
            >
              Try again now
            </Button>
          )}
        </div>
      </details>
    </li>
  );
}
