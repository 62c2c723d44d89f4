/** The state in the largest letters of the page, why, and what can be done about it. */

import { ActionIcon, Button, Menu } from "@mantine/core";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { useTransitions } from "@/api/history";
import { useCloneTarget } from "@/api/targets";
import type { Target } from "@/api/types";
import { DeleteTargets } from "@/parts/DeleteTargets";
import { Icon } from "@/parts/Icon";
import { PageHeader } from "@/parts/PageHeader";
import { Ago } from "@/parts/Time";
import { complain, say } from "@/parts/Toasts";
import { useSwitch } from "@/parts/useSwitch";
import { latency } from "@/words/numbers";
import { word } from "@/words/verdicts";
import { useEvidenceLink } from "./address";
import styles from "./Header.module.css";
import { TestNow } from "./TestNow";

const LONG_ENDPOINT = 80;

export function Header({ target }: { target: Target }) {
  return (
    <PageHeader
      back={{ href: "/targets", label: "Targets" }}
      sign={target.enabled ? target.verdict : "paused"}
      name={target.name}
      state={word(target)}
      since={target.since}
      actions={<Actions target={target} />}
      reason={target.reason === "" || target.verdict === "up" ? null : <Reason target={target} />}
      facts={
        <>
          <Endpoint target={target} />
          {target.last_check_at !== null && (
            <span>
              {target.kind === "heartbeat" ? "last call" : "last check"} <Ago at={target.last_check_at} />
              {target.last_latency_ms !== null && `, ${latency(target.last_latency_ms)}`}
            </span>
          )}
        </>
      }
    >
      {target.description !== "" && <p className={styles.description}>{target.description}</p>}
    </PageHeader>
  );
}

function Actions({ target }: { target: Target }) {
  const [deleting, setDeleting] = useState(false);
  const [, go] = useLocation();
  const switchTargets = useSwitch();
  const clone = useCloneTarget();
  return (
    <div className={styles.actions}>
      {target.kind !== "heartbeat" && <TestNow id={target.id} />}
      <Button variant="default" size="xs" onClick={() => switchTargets([target], !target.enabled)}>
        {target.enabled ? "Pause" : "Resume"}
      </Button>
      <Button component={Link} href={`/targets/${target.id}/edit`} variant="default" size="xs">
        Edit
      </Button>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="default" size={30} aria-label="More">
            <Icon name="more" />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item
            leftSection={<Icon name="copy" size={14} />}
            onClick={() =>
              clone.mutate(target.id, {
                onSuccess: (copy) => {
                  say(`${copy.name} was made. Change what differs, then save.`);
                  go(`/targets/${copy.id}/edit`);
                },
                onError: (error) => complain("Not cloned", error),
              })
            }
          >
            Clone
          </Menu.Item>
          <Menu.Item
            leftSection={<Icon name="trash" size={14} />}
            c="var(--down)"
            onClick={() => setDeleting(true)}
          >
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {deleting && (
        <DeleteTargets targets={[target]} close={() => setDeleting(false)} deleted={() => go("/targets")} />
      )}
    </div>
  );
}

/** Why it is not well, with the way to what was seen. */
function Reason({ target }: { target: Target }) {
  const transitions = useTransitions(target.id);
  const linkTo = useEvidenceLink();
  const latest = transitions.data?.pages[0]?.items.find((each) => each.rule === "reachable");
  const seen = latest?.has_evidence === true && latest.to === target.verdict ? latest : null;
  return (
    <>
      <span>
        {target.because_of !== null && (
          <>
            down because of{" "}
            <Link href={`/targets/${target.because_of.id}`} className="link">
              {target.because_of.name}
            </Link>
            {": "}
          </>
        )}
        {target.reason}
      </span>
      {seen !== null && (
        <Link href={linkTo(seen.check_at, seen.location)} className="link">
          evidence
        </Link>
      )}
    </>
  );
}

function Endpoint({ target }: { target: Target }) {
  // Two lines of it are shown; the tip has all.
  const tip = target.endpoint.length > LONG_ENDPOINT ? target.endpoint : undefined;
  if (!/^https?:\/\//i.test(target.endpoint))
    return (
      <span className={styles.endpoint} data-tip={tip}>
        {target.endpoint}
      </span>
    );
  return (
    <a
      className={`${styles.endpoint ?? ""} link`}
      href={target.endpoint}
      target="_blank"
      rel="noreferrer noopener"
      data-tip={tip}
    >
      {target.endpoint}
    </a>
  );
}
