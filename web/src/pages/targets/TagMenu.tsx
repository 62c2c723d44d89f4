/** Tags of the selected targets: one more for all of them, or one fewer; undone with one click. */

import { Button, Menu, TextInput } from "@mantine/core";
import { useMemo, useState, type KeyboardEvent } from "react";
import { useTagTargets } from "@/api/targets";
import type { Target } from "@/api/types";
import { Icon } from "@/parts/Icon";
import { complain, say } from "@/parts/Toasts";
import { count, counted } from "@/words/numbers";
import bar from "./FilterBar.module.css";
import { choices } from "@/parts/choices";
import styles from "./TagMenu.module.css";

type Tagged = Pick<Target, "id" | "tags">;

export function TagMenu({ targets }: { targets: readonly Target[] }) {
  const [opened, setOpened] = useState(false);
  const [typed, setTyped] = useState("");
  const { mutate, isPending } = useTagTargets();
  const carried = useMemo(() => choices(targets, (target) => target.tags), [targets]);

  const change = (
    done: string,
    affected: readonly Tagged[],
    tagsOf: (tags: readonly string[]) => string[],
  ) => {
    if (affected.length === 0) return;
    const before = affected.map(({ id, tags }) => ({ id, tags }));
    mutate(
      before.map(({ id, tags }) => ({ id, tags: tagsOf(tags) })),
      {
        onSuccess: () =>
          say(`${done} ${counted(affected.length, "target")}.`, () =>
            mutate(before, { onError: (error) => complain("Not undone", error) }),
          ),
        onError: (error) => complain("Not every target was changed", error),
      },
    );
  };
  const add = () => {
    const tag = typed.trim();
    if (tag === "") return;
    const without = targets.filter((target) => !target.tags.includes(tag));
    change(`“${tag}” added to`, without, (tags) => [...tags, tag]);
    setTyped("");
    setOpened(false);
  };
  const remove = (tag: string) => {
    const carriers = targets.filter((target) => target.tags.includes(tag));
    change(`“${tag}” taken from`, carriers, (tags) => tags.filter((each) => each !== tag));
  };
  const type = (event: KeyboardEvent) => {
    // The menu walks its items by letter; here the letters are the tag's.
    if (event.key !== "Escape" && !event.key.startsWith("Arrow")) event.stopPropagation();
    if (event.key === "Enter") add();
  };

  return (
    <Menu position="top" opened={opened} onChange={setOpened}>
      <Menu.Target>
        <Button size="xs" variant="default" loading={isPending}>
          Tags
        </Button>
      </Menu.Target>
      <Menu.Dropdown className={bar.dropdown ?? ""}>
        <div className={styles.add}>
          <TextInput
            data-autofocus
            size="xs"
            aria-label="Add a tag to the selected"
            placeholder="Add a tag"
            value={typed}
            maxLength={60}
            onChange={(event) => setTyped(event.currentTarget.value)}
            onKeyDown={type}
          />
          <Button size="xs" variant="default" disabled={typed.trim() === ""} onClick={add}>
            Add
          </Button>
        </div>
        {carried.length > 0 && <Menu.Label>Take away</Menu.Label>}
        {carried.map((tag) => (
          <Menu.Item
            key={tag.value}
            leftSection={<Icon name="close" size={12} />}
            rightSection={<span className={bar.count}>{count(tag.count)}</span>}
            aria-label={`Take ${tag.value} away from ${counted(tag.count, "target")}`}
            onClick={() => remove(tag.value)}
          >
            {tag.value}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
