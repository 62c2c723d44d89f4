/** The certificate chain as it was shown to us, the server's own first. */

import type { Certificate } from "@/api/types";
import { Sign } from "@/parts/Sign";
import { useNow } from "@/words/clock";
import { day, duration, exact } from "@/words/time";
import styles from "./Certificates.module.css";

const SOON_MS = 14 * 86_400_000;

export function Certificates({ certificates }: { certificates: readonly Certificate[] }) {
  const now = useNow();
  if (certificates.length === 0) return null;
  return (
    <section aria-label="Certificates">
      <h3 className={styles.title}>Certificates</h3>
      <ol className={styles.chain}>
        {certificates.map((certificate) => {
          const left = Date.parse(certificate.not_after) - now;
          const sign = left <= 0 ? "down" : left < SOON_MS ? "degraded" : "up";
          return (
            <li key={certificate.fingerprint} className={styles.certificate}>
              <Sign of={sign} label={left <= 0 ? "expired" : left < SOON_MS ? "expires soon" : "valid"} />
              <div>
                <p className={styles.subject}>{certificate.subject}</p>
                <p className="muted">by {certificate.issuer}</p>
                <p>
                  <time dateTime={certificate.not_after} data-tip={exact(Date.parse(certificate.not_after))}>
                    {left <= 0 ? `expired ${duration(-left)} ago` : `expires in ${duration(left)}`}
                  </time>
                  <span className="muted">
                    {" "}
                    · {day(Date.parse(certificate.not_before))} – {day(Date.parse(certificate.not_after))}
                  </span>
                </p>
                {certificate.names.length > 0 && <p className="muted">for {certificate.names.join(", ")}</p>}
                <details>
                  <summary>Fingerprint and serial</summary>
                  <p>
                    <code>{certificate.fingerprint}</code>
                  </p>
                  <p>
                    <code>{certificate.serial}</code>
                  </p>
                </details>
              </div>
            </li>
          );
        })}
      </ol>
    </section>
  );
}
