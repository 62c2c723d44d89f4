/** Who is told: channels, rules, and what was delivered. */

import { Link } from "wouter";
import styles from "./Alerting.module.css";
import { Channels } from "./Channels";
import { Deliveries } from "./Deliveries";
import { Rules } from "./Rules";

const PARTS = [
  { name: "channels", words: "Channels", View: Channels },
  { name: "rules", words: "Rules", View: Rules },
  { name: "deliveries", words: "Deliveries", View: Deliveries },
] as const;

export default function Alerting({ part }: { part: string }) {
  const current = PARTS.find((each) => each.name === part) ?? PARTS[0];
  return (
    <div className={styles.page}>
      <h1>Alerting</h1>
      <nav aria-label="Alerting" className={styles.parts}>
        {PARTS.map(({ name, words }) => (
          <Link
            key={name}
            href={`/alerting/${name}`}
            aria-current={name === current.name ? "page" : undefined}
          >
            {words}
          </Link>
        ))}
      </nav>
      <current.View />
    </div>
  );
}
