/** Search and filters above the list; each lives in the address. */

import { Button, Menu, TextInput } from "@mantine/core";
import { useMemo, type ReactNode } from "react";
import type { Target } from "@/api/types";
import { Icon } from "@/parts/Icon";
import { Sign } from "@/parts/Sign";
import { count } from "@/words/numbers";
import styles from "./FilterBar.module.css";
import { choices, type Choice, type Filters, type VerdictFilter } from "./filters";

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

interface FilterProps {
  name: string;
  value: string;
  choices: readonly Choice[];
  icon?: (value: string) => ReactNode;
  choose: (value: string) => void;
}

function Filter({ name, value, choices, icon, choose }: FilterProps) {
  const active = value !== "";
  return (
    <Menu position="bottom-start">
      <Menu.Target>
        <Button
          size="xs"
          variant={active ? "light" : "default"}
          rightSection={<Icon name="down" size={12} />}
          className={styles.filter ?? ""}
        >
          {active ? `${name}: ${value}` : name}
        </Button>
      </Menu.Target>
      <Menu.Dropdown className={styles.dropdown ?? ""}>
        {active && <Menu.Item onClick={() => choose("")}>Any</Menu.Item>}
        {choices.length === 0 && <Menu.Label>None yet</Menu.Label>}
        {choices.map((choice) => (
          <Menu.Item
            key={choice.value}
            leftSection={icon?.(choice.value)}
            rightSection={<span className={styles.count}>{count(choice.count)}</span>}
            onClick={() => choose(choice.value)}
          >
            {choice.value}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
