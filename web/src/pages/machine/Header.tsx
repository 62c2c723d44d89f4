/** The state in the largest letters of the page, why, and what else is wrong about what the machine tells. */

import { Button } from "@mantine/core";
import { Link } from "wouter";
import type { Machine } from "@/api/machineTypes";
import { Icon } from "@/parts/Icon";
import { PageHeader } from "@/parts/PageHeader";
import { Ago } from "@/parts/Time";
import { useNow } from "@/words/clock";
import { capacity } from "@/words/measures";
import { count, counted } from "@/words/numbers";
import { duration } from "@/words/time";
import { VERDICT_WORD } from "@/words/verdicts";
import { systemOf } from "../machines/facts";
import { isSilent } from "../machines/silence";
import styles from "./Header.module.css";

/** Less than this is the way of networks and clocks. */
const CLOCK_OFF_MS = 2_000;

export function Header({ machine }: { machine: Machine }) {
  const { id, name, verdict, since, reason, current, last_seen } = machine;
  const facts = [
    systemOf(machine),
    current.cores === null ? "" : counted(current.cores, "core"),
    current.memory_bytes === null ? "" : `${capacity(current.memory_bytes)} memory`,
    current.uptime_s === null ? "" : `running for ${duration(current.uptime_s * 1_000)}`,
  ].filter((fact) => fact !== "");
  return (
    <PageHeader
      back={{ href: "/machines", label: "Machines" }}
      sign={verdict}
      name={name}
      state={VERDICT_WORD[verdict]}
      since={since}
      actions={
        <Button component={Link} href={`/machines/${id}/settings`} variant="default" size="xs">
          Settings
        </Button>
      }
      reason={reason === "" || verdict === "up" ? null : reason}
      warnings={<Warnings machine={machine} />}
      facts={
        <>
          {facts.map((fact) => (
            <span key={fact}>{fact}</span>
          ))}
          <span>{last_seen === null ? "never seen" : <Seen at={last_seen} />}</span>
        </>
      }
    />
  );
}

function Seen({ at }: { at: string }) {
  return (
    <>
      seen <Ago at={at} />
    </>
  );
}

function Warnings({ machine }: { machine: Machine }) {
  const { clock_off_ms, key, refused, verdict } = machine;
  const now = useNow();
  const warnings: string[] = [];
  if (isSilent(machine, now) && verdict !== "down")
    warnings.push("Nothing has been heard of it for a while: what you see is what it said last.");
  if (Math.abs(clock_off_ms) > CLOCK_OFF_MS)
    warnings.push(
      `Its clock is ${duration(Math.abs(clock_off_ms))} ${clock_off_ms > 0 ? "ahead" : "behind"}; times here are its own.`,
    );
  if (key?.revoked === true)
    warnings.push(`Its key ${key.name} is revoked: it cannot report until it gets another.`);
  if (refused > 0)
    warnings.push(
      `${count(refused)} ${refused === 1 ? "value was" : "values were"} refused, because they made no sense: not a number, negative, or of another time.`,
    );
  if (warnings.length === 0) return null;
  return (
    <ul className={styles.warnings}>
      {warnings.map((warning) => (
        <li key={warning}>
          <Icon name="warning" size={14} /> <span>{warning}</span>
        </li>
      ))}
    </ul>
  );
}
