/** Search over everything: targets and machines by name, address or tag, rooms, and what can be done. */

import { Modal } from "@mantine/core";
import { useId, useMemo, useState, type KeyboardEvent, type ReactNode } from "react";
import { useLocation } from "wouter";
import { useMachines } from "@/api/machines";
import type { Machine } from "@/api/machineTypes";
import { useTargets } from "@/api/targets";
import type { Target } from "@/api/types";
import { Icon } from "@/parts/Icon";
import { Sign } from "@/parts/Sign";
import { matches } from "@/pages/targets/filters";
import { systemOf } from "@/pages/machines/facts";
import { matches as machineMatches } from "@/pages/machines/filters";
import { guessed } from "@/pages/target-form/guess";
import { rank } from "@/words/verdicts";
import styles from "./Palette.module.css";
import { ROOMS } from "./rooms";

interface Entry {
  id: string;
  path: string;
  icon: ReactNode;
  name: string;
  aside: string;
}

const AT_MOST = 12;

export default function Palette({ close }: { close: () => void }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const [, go] = useLocation();
  const targets = useTargets();
  const machines = useMachines();
  const listId = useId();

  const entries = useMemo(
    () => entriesFor(text.trim(), targets.data ?? [], machines.data ?? []),
    [text, targets.data, machines.data],
  );
  const active = entries[Math.min(chosen, entries.length - 1)];

  const open = (entry: Entry | undefined) => {
    if (entry === undefined) return;
    close();
    go(entry.path);
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setChosen((Math.min(chosen, entries.length - 1) + step + entries.length) % Math.max(1, entries.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(active);
    }
  };

  return (
    <Modal
      opened
      onClose={close}
      title="Search"
      styles={{ header: { display: "none" } }}
      withCloseButton={false}
      yOffset="12vh"
      centered={false}
      size="lg"
      padding={0}
    >
      <div className={styles.field}>
        <Icon name="search" />
        <input
          data-autofocus
          role="combobox"
          aria-expanded
          aria-controls={listId}
          aria-activedescendant={active === undefined ? undefined : `${listId}-${active.id}`}
          aria-label="Search targets, machines and pages"
          placeholder="Target, machine, address, tag or page"
          value={text}
          onChange={(event) => {
            setText(event.currentTarget.value);
            setChosen(0);
          }}
          onKeyDown={press}
        />
      </div>
      <ul id={listId} role="listbox" aria-label="Found" className={styles.list}>
        {entries.map((entry) => (
          <li
            key={entry.id}
            id={`${listId}-${entry.id}`}
            role="option"
            aria-selected={entry === active}
            className={styles.entry}
            onClick={() => open(entry)}
          >
            {entry.icon}
            <span className={styles.name}>{entry.name}</span>
            <span className={styles.aside}>{entry.aside}</span>
          </li>
        ))}
      </ul>
      {entries.length === 0 && (
        <p className={styles.none}>
          {targets.isPending ? "Loading the targets" : `Nothing is called “${text.trim()}”.`}
        </p>
      )}
    </Modal>
  );
}

/** The first of the machines that match; none while nothing is typed, where targets and rooms are what is wanted. */
function machineEntries(text: string, machines: readonly Machine[]): Entry[] {
  if (text === "") return [];
  return machines
    .filter((machine) => machineMatches(machine, text))
    .sort(
      (a, b) => rank({ ...a, enabled: true }) - rank({ ...b, enabled: true }) || a.name.localeCompare(b.name),
    )
    .slice(0, AT_MOST)
    .map((machine) => ({
      id: `machine-${machine.id}`,
      path: `/machines/${machine.id}`,
      icon: <Sign of={machine.verdict} />,
      name: machine.name,
      aside: systemOf(machine) || "machine",
    }));
}

function entriesFor(text: string, targets: readonly Target[], machines: readonly Machine[]): Entry[] {
  const found = targets
    .filter((target) => matches(target, text))
    .sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
    .slice(0, AT_MOST)
    .map((target) => ({
      id: `target-${target.id}`,
      path: `/targets/${target.id}`,
      icon: <Sign of={target.enabled ? target.verdict : "paused"} />,
      name: target.name,
      aside: target.endpoint,
    }));
  const wanted = text.toLowerCase();
  const rooms = ROOMS.filter((room) => room.name.toLowerCase().includes(wanted)).map((room) => ({
    id: `room-${room.letter}`,
    path: room.path,
    icon: <Icon name={room.icon} />,
    name: room.name,
    aside: `g ${room.letter}`,
  }));
  return [
    ...(text === "" ? rooms : []),
    ...found,
    ...machineEntries(text, machines),
    ...(text === "" ? [] : rooms),
    ...addition(text),
  ];
}

/** An address nobody watches yet can be added from here. */
function addition(text: string): Entry[] {
  const guess = guessed(text);
  if (text !== "" && guess === null) return [];
  return [
    {
      id: "add",
      path: text === "" ? "/targets/new" : `/targets/new?${new URLSearchParams({ from: text }).toString()}`,
      icon: <Icon name="plus" />,
      name: guess === null ? "Add a target" : `Watch ${guess.name}`,
      aside: guess === null ? "n" : guess.kind,
    },
  ];
}
