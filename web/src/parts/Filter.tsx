/** One filter of a list: a button that names what is chosen, with what there is to choose from behind it. */

import { Button, Menu } from "@mantine/core";
import type { ReactNode } from "react";
import { count } from "@/words/numbers";
import styles from "./Filter.module.css";
import { Icon } from "./Icon";

export interface Choice {
  value: string;
  count: number;
}

interface FilterProps {
  name: string;
  value: string;
  choices: readonly Choice[];
  icon?: (value: string) => ReactNode;
  choose: (value: string) => void;
}

export function Filter({ name, value, choices, icon, choose }: FilterProps) {
  const active = value !== "";
  return (
    <Menu position="bottom-start">
      <Menu.Target>
        <Button
          size="xs"
          variant={active ? "light" : "default"}
          rightSection={<Icon name="down" size={12} />}
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
