/** Whether what is on the screen is live; a click pauses it and lets it go on. */

import { live, useLiveState } from "@/api/live";
import { Sign } from "@/parts/Sign";
import styles from "./LiveSign.module.css";

const WORDS = {
  live: { sign: "up", word: "live", tip: "Changes arrive by themselves. Click to pause." },
  reconnecting: {
    sign: "unknown",
    word: "reconnecting",
    tip: "The live connection is broken. Asking every few seconds until it is back.",
  },
  paused: { sign: "paused", word: "paused", tip: "This page stands still. Click to go on." },
} as const;

export function LiveSign() {
  const state = useLiveState();
  const { sign, word, tip } = WORDS[state];
  return (
    <button
      type="button"
      className={styles.sign}
      data-state={state}
      data-tip={tip}
      aria-label={`Live updates: ${word}. ${state === "paused" ? "Resume" : "Pause"}`}
      onClick={() => (state === "paused" ? live.resume() : live.pause())}
    >
      <Sign of={sign} size={9} />
      <span>{word}</span>
    </button>
  );
}
