/** The keyboard: `/` search, `g` + letter to go, `n` new, `?` help. Silent while somebody types. */

import { useEffect, useRef } from "react";
import { ROOMS } from "./rooms";

interface Actions {
  search: () => void;
  help: () => void;
  add: () => void;
  go: (path: string) => void;
}

/** How long after `g` a letter still counts. */
const CHORD_MS = 1_200;

export function useShortcuts(actions: Actions): void {
  const latest = useRef(actions);
  useEffect(() => {
    latest.current = actions;
  });

  useEffect(() => {
    let goneAt = -Infinity;
    const press = (event: KeyboardEvent) => {
      const { search, help, add, go } = latest.current;
      if ((event.ctrlKey || event.metaKey) && event.key === "k") {
        event.preventDefault();
        search();
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || busy(event.target)) return;
      const chord = event.timeStamp - goneAt < CHORD_MS;
      goneAt = -Infinity;
      const room = chord ? ROOMS.find((each) => each.letter === event.key) : undefined;
      if (room !== undefined) go(room.path);
      else if (event.key === "g") goneAt = event.timeStamp;
      else if (event.key === "/") search();
      else if (event.key === "?") help();
      else if (event.key === "n") add();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
}

/** Somebody is typing, or a dialog has the keyboard. */
function busy(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return (
    target.isContentEditable ||
    // A box that was ticked, or a window that was chosen, keeps the focus but takes no letters.
    target.matches("input:not([type=checkbox], [type=radio]), textarea, select, [role=textbox]") ||
    target.closest("[role=dialog], [role=menu], [role=listbox]") !== null
  );
}
