/** Names and values, such as headers: one pair a line, with an empty line to add the next. */

import { ActionIcon, Input, TextInput } from "@mantine/core";
import { useState } from "react";
import { Icon } from "@/parts/Icon";
import type { FieldSpec } from "./spec";
import styles from "./Pairs.module.css";

interface Props {
  spec: FieldSpec;
  value: unknown;
  set: (value: Record<string, string>) => void;
  error: string | null;
}

type Pair = readonly [name: string, value: string];

export function Pairs({ spec, value, set, error }: Props) {
  // Half-written pairs live here: an object cannot hold two empty names.
  const [pairs, setPairs] = useState<readonly Pair[]>(() => pairsOf(value));
  const shown: readonly Pair[] = [...pairs, ["", ""]];

  const change = (next: readonly Pair[]) => {
    const kept = next.filter(([name, content]) => name !== "" || content !== "");
    setPairs(kept);
    set(Object.fromEntries(kept.filter(([name]) => name !== "")));
  };
  const replace = (index: number, pair: Pair) =>
    change(shown.map((each, at) => (at === index ? pair : each)));

  return (
    <Input.Wrapper
      label={spec.label}
      description={spec.help}
      error={error}
      inputWrapperOrder={["label", "input", "description", "error"]}
    >
      <div className={styles.pairs} role="group" aria-label={spec.label}>
        {shown.map(([name, content], index) => (
          <div key={index} className={styles.pair}>
            <TextInput
              aria-label={`${spec.label}: name ${index + 1}`}
              placeholder="Name"
              value={name}
              onChange={(event) => replace(index, [event.currentTarget.value, content])}
            />
            <TextInput
              aria-label={`${spec.label}: value ${index + 1}`}
              placeholder="Value"
              value={content}
              onChange={(event) => replace(index, [name, event.currentTarget.value])}
            />
            <ActionIcon
              aria-label={`Remove ${name === "" ? `line ${index + 1}` : name}`}
              disabled={index === pairs.length}
              onClick={() => change(shown.filter((_, at) => at !== index))}
            >
              <Icon name="close" size={14} />
            </ActionIcon>
          </div>
        ))}
      </div>
    </Input.Wrapper>
  );
}

function pairsOf(value: unknown): Pair[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).map(([name, content]) => [name, String(content)]);
}
