/** What can be done with the selected targets. */

import { Button } from "@mantine/core";
import { useState } from "react";
import type { Target } from "@/api/types";
import { DeleteTargets } from "@/parts/DeleteTargets";
import { useSwitch } from "@/parts/useSwitch";
import { counted } from "@/words/numbers";
import { TagMenu } from "./TagMenu";
import styles from "./SelectionBar.module.css";

export function SelectionBar({ targets, done }: { targets: readonly Target[]; done: () => void }) {
  const [deleting, setDeleting] = useState(false);
  const switchTargets = useSwitch();
  const running = targets.filter((target) => target.enabled);
  const paused = targets.filter((target) => !target.enabled);
  return (
    <div className={styles.bar} role="toolbar" aria-label="Selected targets">
      <span className={styles.words}>{counted(targets.length, "target")} selected</span>
      <Button
        size="xs"
        variant="default"
        disabled={running.length === 0}
        onClick={() => switchTargets(running, false)}
      >
        Pause
      </Button>
      <Button
        size="xs"
        variant="default"
        disabled={paused.length === 0}
        onClick={() => switchTargets(paused, true)}
      >
        Resume
      </Button>
      <TagMenu targets={targets} />
      <Button size="xs" variant="default" c="var(--down)" onClick={() => setDeleting(true)}>
        Delete
      </Button>
      <Button size="xs" variant="subtle" color="gray" onClick={done}>
        Clear
      </Button>
      {deleting && <DeleteTargets targets={targets} close={() => setDeleting(false)} deleted={done} />}
    </div>
  );
}
