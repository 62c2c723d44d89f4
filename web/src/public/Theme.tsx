/** Light, dark, or as the system is: one button, and what was chosen is kept as on the other pages. */

import { useEffect, useState } from "react";
import { Icon, type IconName } from "@/parts/Icon";
import styles from "./Theme.module.css";

const KEPT_AS = "mantine-color-scheme-value";
const SCHEMES = ["auto", "light", "dark"] as const;
type Scheme = (typeof SCHEMES)[number];

const SHOWN: Record<Scheme, { word: string; icon: IconName }> = {
  auto: { word: "as the system", icon: "system" },
  light: { word: "light", icon: "sun" },
  dark: { word: "dark", icon: "moon" },
};

export function Theme() {
  const [scheme, setScheme] = useState<Scheme>(kept);

  useEffect(() => {
    const system = window.matchMedia("(prefers-color-scheme: dark)");
    const apply = () => {
      const dark = scheme === "dark" || (scheme === "auto" && system.matches);
      document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
    };
    apply();
    system.addEventListener("change", apply);
    return () => system.removeEventListener("change", apply);
  }, [scheme]);

  const choose = (next: Scheme) => {
    setScheme(next);
    try {
      localStorage.setItem(KEPT_AS, next);
    } catch {
      // Storage is switched off: it holds until the page is left.
    }
  };

  const next = SCHEMES[(SCHEMES.indexOf(scheme) + 1) % SCHEMES.length] ?? "auto";
  const { word, icon } = SHOWN[scheme];
  return (
    <button
      type="button"
      className={styles.button}
      aria-label={`Theme: ${word}. Change to ${SHOWN[next].word}`}
      data-tip={`Theme: ${word}`}
      onClick={() => choose(next)}
    >
      <Icon name={icon} />
    </button>
  );
}

function kept(): Scheme {
  try {
    return SCHEMES.find((each) => each === localStorage.getItem(KEPT_AS)) ?? "auto";
  } catch {
    return "auto";
  }
}
