/** When it is too much: for each rule whether it is judged, and from when on. */

import { NumberInput, Switch } from "@mantine/core";
import type { Machine } from "@/api/machineTypes";
import styles from "./BandFields.module.css";
import { FIELDS, RULES, type Draft, type RuleDraft, type RuleSpec } from "./bands";

interface Props {
  help: string;
  /** What counts where a field is empty. */
  inForce: Machine["bands"];
  draft: Draft;
  change: (draft: Draft) => void;
  /** What is wrong with a field, as `cpu.warn`. */
  error: (field: string) => string | undefined;
}

export function BandFields({ help, inForce, draft, change, error }: Props) {
  return (
    <fieldset className={styles.bands}>
      <legend>When it is too much</legend>
      <p className="muted">{help}</p>
      {RULES.map((rule) => (
        <RuleFields
          key={rule.name}
          rule={rule}
          inForce={inForce[rule.name] as Readonly<Record<string, number | null>> | null}
          draft={draft[rule.name] ?? { judged: true, values: {} }}
          set={(next) => change({ ...draft, [rule.name]: next })}
          error={error}
        />
      ))}
    </fieldset>
  );
}

interface RuleProps {
  rule: RuleSpec;
  inForce: Readonly<Record<string, number | null>> | null;
  draft: RuleDraft;
  set: (next: RuleDraft) => void;
  error: (field: string) => string | undefined;
}

function RuleFields({ rule, inForce, draft, set, error }: RuleProps) {
  return (
    <div className={styles.rule} role="group" aria-label={rule.words}>
      <Switch
        label={rule.words}
        description={rule.help}
        checked={draft.judged}
        onChange={(event) => set({ ...draft, judged: event.currentTarget.checked })}
      />
      {draft.judged && (
        <div className={styles.fields}>
          {FIELDS[rule.kind].map(({ name, words, factor, suffix }) => {
            const usual = inForce?.[name] ?? null;
            const given = draft.values[name];
            return (
              <NumberInput
                key={name}
                label={words}
                suffix={suffix === "" ? "" : `\u00a0${suffix}`}
                hideControls
                placeholder={
                  usual === null ? "as usual" : `${Number((usual * factor).toFixed(3))}\u00a0${suffix}`
                }
                value={given === undefined ? "" : Number((given * factor).toFixed(6))}
                error={error(`${rule.name}.${name}`)}
                onChange={(next) => {
                  const others = Object.entries(draft.values).filter(([other]) => other !== name);
                  const own: [string, number][] = next === "" ? [] : [[name, Number(next) / factor]];
                  set({ ...draft, values: Object.fromEntries([...others, ...own]) });
                }}
              />
            );
          })}
        </div>
      )}
    </div>
  );
}
