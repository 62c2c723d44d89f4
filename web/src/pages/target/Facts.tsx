/** How it is checked. */

import { Link } from "wouter";
import { useTargets } from "@/api/targets";
import type { Target } from "@/api/types";
import { Panel } from "@/parts/Panel";
import { counted, latency } from "@/words/numbers";
import { seconds } from "@/words/time";
import styles from "./Facts.module.css";

export function Facts({ target }: { target: Target }) {
  const { kind, interval_s, timeout_s, recheck_s, failures_to_down, passes_to_up, degraded_above_ms } =
    target;
  const facts: [string, string][] = [["Kind", kind]];
  // A job that calls in is not looked at: it has no timeout, and one call that does not come is enough.
  if (kind === "heartbeat") facts.push(["Expected", target.endpoint]);
  else
    facts.push(
      ["Checked", `every ${seconds(interval_s)}, at most ${seconds(timeout_s)} long`],
      [
        "Down after",
        `${counted(failures_to_down, "failure")}${recheck_s < interval_s ? `, looking again after ${seconds(recheck_s)}` : ""}`,
      ],
      ["Up after", passes_to_up === 1 ? "1 pass" : `${passes_to_up} passes`],
    );
  if (degraded_above_ms !== null) facts.push(["Degraded above", latency(degraded_above_ms)]);
  if (target.group !== "") facts.push(["Group", target.group]);
  return (
    <Panel
      title="How it is checked"
      aside={
        <Link href={`/targets/${target.id}/edit`} className="link">
          Edit
        </Link>
      }
    >
      <dl className={styles.facts}>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        {target.depends_on.length > 0 && <Parents ids={target.depends_on} />}
        {target.tags.length > 0 && (
          <div>
            <dt>Tags</dt>
            <dd className={styles.tags}>
              {target.tags.map((tag) => (
                <Link key={tag} href={`/targets?${new URLSearchParams({ tag }).toString()}`} className="link">
                  {tag}
                </Link>
              ))}
            </dd>
          </div>
        )}
        {target.assert.length > 0 && (
          <div>
            <dt>Must hold</dt>
            <dd className={styles.assertions}>
              {target.assert.map((source) => (
                <code key={source}>{source}</code>
              ))}
            </dd>
          </div>
        )}
      </dl>
    </Panel>
  );
}

/** What it cannot be up without; by name where the list is known already. */
function Parents({ ids }: { ids: readonly number[] }) {
  const { data = [] } = useTargets();
  const names = new Map(data.map((each) => [each.id, each.name]));
  return (
    <div>
      <dt>Depends on</dt>
      <dd className={styles.tags}>
        {ids.map((id) => (
          <Link key={id} href={`/targets/${id}`} className="link">
            {names.get(id) ?? `target ${id}`}
          </Link>
        ))}
      </dd>
    </div>
  );
}
