/** How long the certificate lasts, and when somebody is told. */

import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { useNow } from "@/words/clock";
import { counted } from "@/words/numbers";
import { day, duration, exact } from "@/words/time";
import styles from "./CertificatePanel.module.css";

interface Props {
  expiresAt: string;
  warningDays: number | null;
}

const DAY_MS = 86_400_000;

export function CertificatePanel({ expiresAt, warningDays }: Props) {
  const at = Date.parse(expiresAt);
  const left = at - useNow();
  const sign = left <= 0 ? "down" : warningDays !== null && left < warningDays * DAY_MS ? "degraded" : "up";
  return (
    <Panel title="Certificate">
      <p className={styles.line}>
        <Sign of={sign} label={sign === "up" ? "valid" : sign === "down" ? "expired" : "expires soon"} />
        <time dateTime={expiresAt} data-tip={exact(at)}>
          {left <= 0 ? `expired ${duration(-left)} ago` : `expires in ${duration(left)}`}
        </time>
        <span className="muted">{day(at)}</span>
      </p>
      <p className="muted">
        {warningDays === null
          ? "Nobody is warned before it expires."
          : `Warned of ${counted(warningDays, "day")} before. The earliest of the chain counts.`}
      </p>
    </Panel>
  );
}
