/** Which targets this one cannot be up without. Chosen by name among any number of them. */

import { MultiSelect } from "@mantine/core";
import { useMemo } from "react";
import type { Target } from "@/api/types";
import type { Draft } from "@/parts/form/draft";
import { errorsUnder } from "@/parts/form/Field";

/** So many are offered at once; typing narrows them down. */
const OFFERED = 50;

interface Props {
  /** Of the target itself; null: it is being added. */
  id: number | null;
  targets: readonly Target[];
  draft: Draft;
}

export function DependsOn({ id, targets, draft }: Props) {
  const value = draft.value("depends_on");
  const chosen = useMemo(() => (Array.isArray(value) ? value.map(String) : []), [value]);
  const options = useMemo(() => {
    const known = targets
      .filter((each) => each.id !== id)
      .map((each) => ({ value: String(each.id), label: each.name }));
    const names = new Set(known.map((each) => each.value));
    const unknown = chosen
      .filter((each) => !names.has(each))
      .map((each) => ({ value: each, label: `target ${each}` }));
    return [...known, ...unknown];
  }, [targets, id, chosen]);
  if (options.length === 0) return null;
  return (
    <MultiSelect
      label="Depends on"
      description="While one of these is down, this one is down because of it and nobody is told twice."
      inputWrapperOrder={["label", "input", "description", "error"]}
      name="depends_on"
      placeholder={chosen.length === 0 ? "gateway, database …" : ""}
      data={options}
      limit={OFFERED}
      searchable
      clearable
      hidePickedOptions
      nothingFoundMessage="No target is called that"
      value={chosen}
      error={errorsUnder("depends_on", draft)}
      onChange={(next) => draft.set("depends_on", next.map(Number))}
    />
  );
}
