/** One field: paste an address, press Enter, it is watched with sensible defaults. */

import { Button, TextInput } from "@mantine/core";
import { useState, type SubmitEvent } from "react";
import { Link, useLocation } from "wouter";
import { problemFrom } from "@/api/client";
import { useSaveTarget } from "@/api/targets";
import { say } from "@/parts/Toasts";
import { guessed } from "./guess";
import styles from "./QuickAdd.module.css";

export function QuickAdd() {
  const [text, setText] = useState("");
  const [unclear, setUnclear] = useState(false);
  const save = useSaveTarget();
  const [, go] = useLocation();
  const guess = guessed(text);

  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (guess === null) {
      setUnclear(true);
      return;
    }
    save.mutate(
      { id: null, draft: { name: guess.name, kind: guess.kind, ...guess.fields } },
      {
        onSuccess: (target) => {
          say(`${target.name} is being watched.`);
          go(`/targets/${target.id}`);
        },
      },
    );
  };

  return (
    <form onSubmit={submit} className={styles.form}>
      <TextInput
        className={styles.field ?? ""}
        aria-label="Address to watch"
        placeholder="https://shop.example"
        value={text}
        error={
          save.isError ? problemFrom(save.error).message : unclear && guess === null ? NOT_CLEAR : undefined
        }
        onChange={(event) => {
          setText(event.currentTarget.value);
          setUnclear(false);
          save.reset();
        }}
      />
      <Button type="submit" loading={save.isPending}>
        Watch it
      </Button>
      <p className={styles.hint}>
        {guess === null ? (
          <>
            A URL, <code>host:port</code> or an IP address. Something else?{" "}
            <Link href="/targets/new" className="link">
              Choose its kind
            </Link>
            .
          </>
        ) : (
          `Will be watched as ${guess.name} (${guess.kind}).`
        )}
      </p>
    </form>
  );
}

const NOT_CLEAR = "This names nothing that could be watched. Write a URL, host:port or an IP address.";
