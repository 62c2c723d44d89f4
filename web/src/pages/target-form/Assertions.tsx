/** What must hold, in CEL; each line is checked while it is typed. */

import { ActionIcon, Button, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useExpressionCheck } from "@/api/kinds";
import type { TargetKind } from "@/api/types";
import type { Draft } from "@/parts/form/draft";
import { Icon } from "@/parts/Icon";
import styles from "./Assertions.module.css";

interface Props {
  kind: TargetKind;
  draft: Draft;
}

export function Assertions({ kind, draft }: Props) {
  const value = draft.value("assert");
  const written = Array.isArray(value) ? value.map(String) : [];
  const change = (next: readonly string[]) => draft.set("assert", next);
  return (
    <fieldset className={styles.assertions}>
      <legend>What must hold</legend>
      {written.length === 0 && (
        <p className="muted">
          {kind.default_assert.length === 0 ? (
            "Answering is enough."
          ) : (
            <>
              Unless you say otherwise:{" "}
              {kind.default_assert.map((source) => (
                <code key={source} className={styles.source}>
                  {source}
                </code>
              ))}
            </>
          )}
        </p>
      )}
      {written.map((source, index) => (
        <Assertion
          key={index}
          kind={kind.kind}
          source={source}
          index={index}
          refusal={draft.serverErrors.find((error) => error.field === `assert.${index}`)?.message ?? null}
          change={(next) => change(written.map((each, at) => (at === index ? next : each)))}
          remove={() => change(written.filter((_, at) => at !== index))}
        />
      ))}
      <Button
        variant="default"
        size="xs"
        leftSection={<Icon name="plus" size={14} />}
        onClick={() => change([...written, written.length === 0 ? (kind.default_assert[0] ?? "") : ""])}
      >
        Add an assertion
      </Button>
      {written.length > 0 && <Variables kind={kind} />}
    </fieldset>
  );
}

interface AssertionProps {
  kind: string;
  source: string;
  index: number;
  refusal: string | null;
  change: (source: string) => void;
  remove: () => void;
}

const TYPING_MS = 250;

function Assertion({ kind, source, index, refusal, change, remove }: AssertionProps) {
  const [settled] = useDebouncedValue(source, TYPING_MS);
  const { data } = useExpressionCheck(kind, settled);
  const fault = settled === source && data?.ok === false ? data : null;
  return (
    <div className={styles.assertion}>
      <TextInput
        className={styles.input ?? ""}
        aria-label={`Assertion ${index + 1}`}
        placeholder="status == 200"
        spellCheck={false}
        value={source}
        error={
          fault === null ? (
            refusal
          ) : (
            <>
              {fault.column !== null && (
                <Marker source={source} line={fault.line ?? 1} column={fault.column} />
              )}
              {fault.message}
            </>
          )
        }
        rightSection={data?.ok === true && settled === source ? <Icon name="check" size={14} /> : null}
        onChange={(event) => change(event.currentTarget.value)}
      />
      <ActionIcon aria-label={`Remove assertion ${index + 1}`} onClick={remove}>
        <Icon name="close" size={14} />
      </ActionIcon>
    </div>
  );
}

/** The faulty place of the expression, marked. */
function Marker({ source, line, column }: { source: string; line: number; column: number }) {
  const text = source.split("\n")[line - 1] ?? source;
  const at = Math.min(Math.max(0, column - 1), text.length);
  return (
    <code className={styles.marker} aria-hidden>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + 1) || " "}</mark>
      {text.slice(at + 1)}
    </code>
  );
}

function Variables({ kind }: { kind: TargetKind }) {
  const names = Object.entries(kind.variables);
  return (
    <details className={styles.variables}>
      <summary>What can be named</summary>
      <ul>
        {names.map(([name, type]) => (
          <li key={name}>
            <code>{name}</code> <span className="muted">{type}</span>
          </li>
        ))}
      </ul>
      <p className="muted">
        Compare with == != &lt; &gt;, join with &amp;&amp; and ||. Text:{" "}
        <code>body.contains(&quot;Welcome&quot;)</code>. Time: <code>duration(&quot;168h&quot;)</code>.
      </p>
    </details>
  );
}
