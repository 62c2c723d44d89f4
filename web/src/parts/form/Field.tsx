/** One field of a form, drawn as its kind of value asks. */

import {
  Button,
  NumberInput,
  PasswordInput,
  Select,
  Switch,
  TagsInput,
  Textarea,
  TextInput,
} from "@mantine/core";
import type { Draft } from "./draft";
import { Pairs } from "./Pairs";
import type { FieldSpec } from "./spec";
import styles from "./Field.module.css";

interface Props {
  spec: FieldSpec;
  draft: Draft;
  /** Secrets that are stored already; their values are never shown. */
  secretsSet?: readonly string[];
  placeholder?: string;
  suggestions?: readonly string[];
  autoFocus?: boolean;
  onPaste?: (text: string) => boolean;
}

export function Field({
  spec,
  draft,
  secretsSet = [],
  placeholder,
  suggestions = [],
  autoFocus = false,
  onPaste,
}: Props) {
  const value = draft.value(spec.name);
  const set = (next: unknown) => draft.set(spec.name, next);
  const common = {
    label: spec.label,
    description: spec.help,
    error: errorsUnder(spec.name, draft),
    required: spec.required,
    withAsterisk: false,
    name: spec.name,
    autoComplete: "off",
    inputWrapperOrder: ["label", "input", "description", "error"] as (
      "label" | "input" | "description" | "error"
    )[],
    "data-autofocus": autoFocus || undefined,
    autoFocus,
  };
  const example = placeholder ?? spec.example;

  switch (spec.control) {
    case "switch":
      return (
        <Switch
          label={spec.label}
          description={spec.help}
          name={spec.name}
          checked={value === true}
          error={common.error}
          onChange={(event) => set(event.currentTarget.checked)}
        />
      );
    case "choice":
      return (
        <Select
          {...common}
          data={[...spec.choices]}
          value={typeof value === "string" ? value : null}
          allowDeselect={spec.nullable}
          clearable={spec.nullable}
          checkIconPosition="right"
          onChange={set}
        />
      );
    case "integer":
    case "number":
      return (
        <NumberInput
          {...common}
          placeholder={example}
          value={typeof value === "number" ? value : ""}
          allowDecimal={spec.control === "number"}
          hideControls
          onChange={(next) => set(typeof next === "number" ? next : next === "" ? null : Number(next))}
        />
      );
    case "list":
      return (
        <TagsInput
          {...common}
          placeholder={Array.isArray(value) && value.length > 0 ? "" : example}
          data={[...suggestions]}
          value={Array.isArray(value) ? value.map(String) : []}
          acceptValueOnBlur
          splitChars={[","]}
          onChange={set}
        />
      );
    case "pairs":
      return <Pairs spec={spec} value={value} set={set} error={common.error} />;
    case "secret":
      return (
        <Secret
          spec={spec}
          draft={draft}
          stored={secretsSet.includes(spec.name)}
          common={common}
          example={example}
        />
      );
    case "long":
      return (
        <Textarea
          {...common}
          placeholder={example}
          autosize
          minRows={2}
          maxRows={12}
          value={typeof value === "string" ? value : ""}
          onChange={(event) => set(event.currentTarget.value)}
        />
      );
    case "text":
      return (
        <TextInput
          {...common}
          placeholder={example}
          value={typeof value === "string" ? value : ""}
          onChange={(event) => set(event.currentTarget.value)}
          onPaste={(event) => {
            if (onPaste?.(event.clipboardData.getData("text")) === true) event.preventDefault();
          }}
        />
      );
  }
}

interface SecretProps {
  spec: FieldSpec;
  draft: Draft;
  stored: boolean;
  common: object;
  example: string;
}

/** A stored secret stays unless it is typed anew; an empty text takes it away. */
function Secret({ spec, draft, stored, common, example }: SecretProps) {
  const typed = draft.changed[spec.name];
  const removed = stored && typed === "";
  return (
    <div className={styles.secret}>
      <PasswordInput
        {...common}
        placeholder={removed ? "will be removed" : stored ? "stored; type to replace it" : example}
        value={typeof typed === "string" ? typed : ""}
        onChange={(event) =>
          draft.set(spec.name, event.currentTarget.value === "" && stored ? null : event.currentTarget.value)
        }
      />
      {stored && !spec.required && (
        <Button
          size="compact-xs"
          variant="subtle"
          color="gray"
          onClick={() => draft.set(spec.name, removed ? null : "")}
        >
          {removed ? "Keep it" : "Remove it"}
        </Button>
      )}
    </div>
  );
}

/** The field's own message, and those of its parts (`headers.X-Key`, `tags.2`). */
export function errorsUnder(name: string, draft: Draft): string | null {
  const own = draft.error(name);
  if (own !== null) return own;
  const parts = draft.serverErrors.filter((error) => error.field.startsWith(`${name}.`));
  return parts.length === 0
    ? null
    : parts.map((error) => `${error.field.slice(name.length + 1)}: ${error.message}`).join("; ");
}
