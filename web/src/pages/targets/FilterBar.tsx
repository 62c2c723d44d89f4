/** Search and filters above the list; each lives in the address. */

import { Button, TextInput } from "@mantine/core";
import { useMemo } from "react";
import type { Target } from "@/api/types";
import { choices } from "@/parts/choices";
import { Filter } from "@/parts/Filter";
import { Icon } from "@/parts/Icon";
import { Sign } from "@/parts/Sign";
import styles from "./FilterBar.module.css";
import type { Filters, VerdictFilter } from "./filters";

interface Props {
  targets: readonly Target[];
  filters: Filters;
  change: (changes: Partial<Filters>) => void;
}

const VERDICTS: readonly VerdictFilter[] = ["down", "degraded", "unknown", "up", "paused"];

export function FilterBar({ targets, filters, change }: Props) {
  const kinds = useMemo(() => choices(targets, (target) => [target.kind]), [targets]);
  const tags = useMemo(() => choices(targets, (target) => target.tags), [targets]);
  const groups = useMemo(() => choices(targets, (target) => [target.group]), [targets]);
  const verdicts = useMemo(() => {
    const found = choices(targets, (target) => [target.enabled ? target.verdict : "paused"]);
    return VERDICTS.flatMap((verdict) => found.filter((choice) => choice.value === verdict));
  }, [targets]);

  return (
    <div className={styles.bar} role="search" aria-label="Filter the targets">
      <TextInput
        className={styles.search ?? ""}
        size="xs"
        type="search"
        aria-label="Name, address or tag"
        placeholder="Name, address or tag"
        leftSection={<Icon name="search" size={14} />}
        value={filters.q}
        onChange={(event) => change({ q: event.currentTarget.value })}
      />
      <Filter
        name="State"
        value={filters.verdict}
        choices={verdicts}
        icon={(value) => <Sign of={value as VerdictFilter} size={10} />}
        choose={(value) => change({ verdict: value as VerdictFilter | "" })}
      />
      <Filter name="Kind" value={filters.kind} choices={kinds} choose={(kind) => change({ kind })} />
      <Filter name="Tag" value={filters.tag} choices={tags} choose={(tag) => change({ tag })} />
      {(groups.length > 0 || filters.group !== "") && (
        <>
          <Filter name="Group" value={filters.group} choices={groups} choose={(group) => change({ group })} />
          <Button
            size="xs"
            variant={filters.grouped ? "light" : "subtle"}
            color={filters.grouped ? "bell" : "gray"}
            aria-pressed={filters.grouped}
            onClick={() => change({ grouped: !filters.grouped })}
          >
            By group
          </Button>
        </>
      )}
    </div>
  );
}
