/** Changing your password. */

import { Button, PasswordInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { problemFrom } from "@/api/client";
import { useChangePassword } from "@/api/session";
import { Panel } from "@/parts/Panel";
import { say } from "@/parts/Toasts";
import styles from "./Settings.module.css";

const SHORTEST = 8;

export function Password() {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const change = useChangePassword();
  const problem = change.isError ? problemFrom(change.error) : null;
  const errorOf = (field: string) => problem?.fields.find((error) => error.field === field)?.message;
  const tooShort = next !== "" && next.length < SHORTEST;

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    change.mutate(
      { current, new: next },
      {
        onSuccess: () => {
          say("Your password is changed.");
          setCurrent("");
          setNext("");
        },
      },
    );
  };

  return (
    <Panel title="Password">
      <form className={styles.form} onSubmit={submit} aria-label="Password">
        <PasswordInput
          label="Current password"
          autoComplete="current-password"
          value={current}
          error={
            errorOf("current") ??
            (problem !== null && problem.fields.length === 0 ? problem.message : undefined)
          }
          onChange={(event) => setCurrent(event.currentTarget.value)}
        />
        <PasswordInput
          label="New password"
          description={`At least ${SHORTEST} characters.`}
          autoComplete="new-password"
          value={next}
          error={errorOf("new") ?? (tooShort ? `is shorter than ${SHORTEST} characters` : undefined)}
          onChange={(event) => setNext(event.currentTarget.value)}
        />
        <Button type="submit" disabled={current === "" || next.length < SHORTEST} loading={change.isPending}>
          Change it
        </Button>
      </form>
    </Panel>
  );
}
