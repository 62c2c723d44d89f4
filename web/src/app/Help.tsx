/** Every key there is. */

import { Modal } from "@mantine/core";
import { ROOMS } from "./rooms";
import styles from "./Help.module.css";

const KEYS: readonly { keys: readonly string[]; does: string }[] = [
  { keys: ["/"], does: "Search or jump to" },
  { keys: ["n"], does: "Add a target, or a machine where they are listed" },
  ...ROOMS.map((room) => ({ keys: ["g", room.letter], does: `Go to ${room.name}` })),
  { keys: ["j", "k"], does: "Next and previous row of a list" },
  { keys: ["Enter"], does: "Open the row" },
  { keys: ["x"], does: "Select the row" },
  { keys: ["Esc"], does: "Close, or clear the selection" },
  { keys: ["?"], does: "This help" },
];

export default function Help({ close }: { close: () => void }) {
  return (
    <Modal opened onClose={close} title="Keyboard" size="sm">
      <dl className={styles.keys}>
        {KEYS.map(({ keys, does }) => (
          <div key={does}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
