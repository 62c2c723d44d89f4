/** The form of a target: what, how often, how it is judged; with a test that stores nothing. */

import { Button, TextInput } from "@mantine/core";
import { useMemo, useState, type ReactNode, type SubmitEvent } from "react";
import { Link, useLocation } from "wouter";
import { useSaveTarget, useTargets, useTestTarget } from "@/api/targets";
import type { Target, TargetKind } from "@/api/types";
import { BackLink } from "@/parts/BackLink";
import { useDraft, type Values } from "@/parts/form/draft";
import { Field } from "@/parts/form/Field";
import { fieldsOf, type FieldSpec } from "@/parts/form/spec";
import { Icon } from "@/parts/Icon";
import { say } from "@/parts/Toasts";
import { Assertions } from "./Assertions";
import styles from "./Editor.module.css";
import { guessed } from "./guess";
import { DependsOn } from "./DependsOn";
import { KindPicker } from "./KindPicker";
import { ELSEWHERE, MAIN, NOT_FOR, SHORT, SORTING, TIMING, VERDICT } from "./layout";
import { Places as Vantage } from "./Places";
import { nameFor, settled, timingRules } from "./rules";
import { TestPanel } from "./TestPanel";

interface Props {
  kinds: readonly TargetKind[];
  target: Target | null;
  kind: string;
  initial: Values;
}

export function Editor({ kinds, target, kind: firstKind, initial }: Props) {
  const [kindName, setKindName] = useState(firstKind);
  const kind = kinds.find((each) => each.kind === kindName) ?? kinds[0];
  const specs = useMemo(() => (kind === undefined ? [] : fieldsOf(kind.schema)), [kind]);
  // The name may stay empty: one is made from the address.
  const checked = useMemo(
    () => specs.map((spec) => (spec.name === "name" ? { ...spec, required: false } : spec)),
    [specs],
  );
  const draft = useDraft({ specs: checked, base: target ?? {}, initial, rules: timingRules });
  const save = useSaveTarget();
  const test = useTestTarget();
  const known = useTargets();
  const [, go] = useLocation();

  if (kind === undefined) return null;
  const made = nameFor(kind.kind, draft.value);
  const out = NOT_FOR[kind.kind] ?? new Set<string>();
  const place = placesOf(specs, kind.kind, out);
  const back = target === null ? "/targets" : `/targets/${target.id}`;

  const whole = (): Values => {
    const values = settled(kind.kind, draft.changed);
    if (target !== null) return values;
    return {
      ...values,
      kind: kind.kind,
      name: typeof values.name === "string" && values.name !== "" ? values.name : made,
    };
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (!draft.ready() || save.isPending) return;
    save.mutate(
      { id: target?.id ?? null, draft: whole() },
      {
        onSuccess: (saved) => {
          say(target === null ? `${saved.name} is being watched.` : `${saved.name} is saved.`);
          go(`/targets/${saved.id}`);
        },
        onError: draft.refuse,
      },
    );
  };
  const runTest = () => {
    if (!draft.ready()) return;
    test.mutate(target === null ? whole() : { id: target.id, ...whole() }, { onError: draft.refuse });
  };
  /** What is pasted may be of another kind than the one chosen: host:port into the field of a URL. */
  const paste = (text: string): boolean => {
    const guess = guessed(text);
    if (target !== null || guess === null) return false;
    if (guess.kind !== kind.kind) setKindName(guess.kind);
    for (const [name, value] of Object.entries(guess.fields)) draft.set(name, value);
    return true;
  };
  const fields = (wanted: readonly FieldSpec[], focusFirst = false) =>
    wanted.map((spec, index) => (
      <div key={spec.name} className={SHORT.has(spec.name) ? styles.short : styles.whole}>
        <Field
          spec={spec}
          draft={draft}
          secretsSet={target?.secrets_set ?? []}
          suggestions={spec.name === "tags" ? tagsOf(known.data ?? []) : []}
          autoFocus={focusFirst && index === 0}
          onPaste={paste}
        />
      </div>
    ));

  return (
    <div className={styles.page}>
      <BackLink href={back} label={target === null ? "Targets" : target.name} />
      <h1>{target === null ? "Add a target" : `Edit ${target.name}`}</h1>
      <div className={styles.columns}>
        <form onSubmit={submit} className={styles.form} noValidate aria-label="Target">
          {target === null && (
            <KindPicker
              kinds={kinds}
              value={kind.kind}
              choose={(next) => {
                setKindName(next);
                test.reset();
              }}
            />
          )}
          <div className={styles.fields}>
            {fields(place.main, target === null)}
            <div className={styles.whole}>
              <TextInput
                label="Name"
                name="name"
                placeholder={made}
                value={textOf(draft.value("name"))}
                error={draft.error("name")}
                autoComplete="off"
                onChange={(event) => draft.set("name", event.currentTarget.value)}
              />
            </div>
            {fields(place.timing)}
          </div>
          {!out.has("assert") && <Assertions kind={kind} draft={draft} />}
          <div className={styles.fields}>
            {fields(place.sorting)}
            <div className={styles.whole}>
              <DependsOn id={target?.id ?? null} targets={known.data ?? []} draft={draft} />
            </div>
          </div>
          {specs.some((spec) => spec.name === "locations") && <Vantage draft={draft} />}
          <Fold title="When it counts as down or degraded" count={changedIn(place.verdict, draft.changed)}>
            <div className={styles.fields}>{fields(place.verdict)}</div>
          </Fold>
          {place.more.length > 0 && (
            <Fold
              title="More about the check"
              count={changedIn(place.more, draft.changed)}
              open={faulty(place.more, draft.error)}
            >
              <div className={styles.fields}>{fields(place.more)}</div>
            </Fold>
          )}
          {draft.general !== null && (
            <p className={styles.general} role="alert">
              {draft.general}
            </p>
          )}
          <div className={styles.actions}>
            <Button type="submit" loading={save.isPending}>
              {target === null ? "Watch it" : "Save"}
            </Button>
            {kind.kind !== "heartbeat" && (
              <Button variant="default" onClick={runTest} loading={test.isPending}>
                Test
              </Button>
            )}
            <Button variant="subtle" color="gray" component={Link} href={back}>
              Cancel
            </Button>
          </div>
        </form>
        <TestPanel kind={kind.kind} test={test} />
      </div>
    </div>
  );
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

interface Places {
  main: FieldSpec[];
  timing: FieldSpec[];
  sorting: FieldSpec[];
  verdict: FieldSpec[];
  more: FieldSpec[];
}

function placesOf(specs: readonly FieldSpec[], kind: string, out: ReadonlySet<string>): Places {
  const left = new Map(
    specs.filter((spec) => !ELSEWHERE.has(spec.name) && !out.has(spec.name)).map((spec) => [spec.name, spec]),
  );
  const take = (names: readonly string[]) =>
    names.flatMap((name) => {
      const spec = left.get(name);
      left.delete(name);
      return spec === undefined ? [] : [spec];
    });
  const timing = take(TIMING);
  const sorting = take(SORTING);
  const verdict = take(VERDICT);
  const required = [...left.values()].filter((spec) => spec.required).map((spec) => spec.name);
  const main = take([...new Set([...(MAIN[kind] ?? []), ...required])]);
  return { main, timing, sorting, verdict, more: [...left.values()] };
}

function changedIn(specs: readonly FieldSpec[], changed: Values): number {
  return specs.filter((spec) => spec.name in changed).length;
}

function faulty(specs: readonly FieldSpec[], error: (name: string) => string | null): boolean {
  return specs.some((spec) => error(spec.name) !== null);
}

function tagsOf(targets: readonly Target[]): string[] {
  return [...new Set(targets.flatMap((target) => target.tags))].sort();
}

interface FoldProps {
  title: string;
  count: number;
  open?: boolean;
  children: ReactNode;
}

function Fold({ title, count, open = false, children }: FoldProps) {
  const [opened, setOpened] = useState(false);
  return (
    <details
      className={styles.fold}
      open={opened || open}
      onToggle={(event) => setOpened(event.currentTarget.open)}
    >
      <summary>
        <Icon name="right" size={14} /> {title}
        {count > 0 && <span className="muted"> · {count} changed</span>}
      </summary>
      <div className={styles.folded}>{children}</div>
    </details>
  );
}
