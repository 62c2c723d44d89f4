/** Search and filters above the machines; each lives in the address. */

import { TextInput } from "@mantine/core";
import { useMemo } from "react";
import type { Machine } from "@/api/machineTypes";
import type { Verdict } from "@/api/types";
import { choices } from "@/parts/choices";
import { Filter } from "@/parts/Filter";
import { Icon } from "@/parts/Icon";
import { Sign } from "@/parts/Sign";
import styles from "./FilterBar.module.css";
import type { Filters } from "./filters";

interface Props {
  machines: readonly Machine[];
  filters: Filters;
  change: (changes: Partial<Filters>) => void;
}

const VERDICTS: readonly Verdict[] = ["down", "degraded", "unknown", "up"];

export function FilterBar({ machines, filters, change }: Props) {
  const tags = useMemo(() => choices(machines, (machine) => machine.tags), [machines]);
  const verdicts = useMemo(() => {
    const found = choices(machines, (machine) => [machine.verdict]);
    return VERDICTS.flatMap((verdict) => found.filter((choice) => choice.value === verdict));
  }, [machines]);

  return (
    <div className={styles.bar} role="search" aria-label="Filter the machines">
      <TextInput
        className={styles.search ?? ""}
        size="xs"
        type="search"
        aria-label="Name, tag or system"
        placeholder="Name, tag or system"
        leftSection={<Icon name="search" size={14} />}
        value={filters.q}
        onChange={(event) => change({ q: event.currentTarget.value })}
      />
      <Filter
        name="State"
        value={filters.verdict}
        choices={verdicts}
        icon={(value) => <Sign of={value as Verdict} size={10} />}
        choose={(value) => change({ verdict: value as Verdict | "" })}
      />
      <Filter name="Tag" value={filters.tag} choices={tags} choose={(tag) => change({ tag })} />
    </div>
  );
}
