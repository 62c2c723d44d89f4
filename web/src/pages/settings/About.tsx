/** What this is, and where its other doors are. */

import { useOverview } from "@/api/overview";
import { Panel } from "@/parts/Panel";
import { Since } from "@/parts/Time";
import styles from "./Settings.module.css";

export function About() {
  const { data } = useOverview();
  return (
    <Panel title="About">
      <dl className={styles.facts}>
        <div>
          <dt>Version</dt>
          <dd>Tocsin {data?.version ?? "–"}</dd>
        </div>
        <div>
          <dt>Running for</dt>
          <dd>{data === undefined ? "–" : <Since at={data.started_at} />}</dd>
        </div>
        <div>
          <dt>API</dt>
          <dd>
            <a className="link" href="/docs">
              Reference
            </a>{" "}
            <a className="link" href="/openapi.json">
              openapi.json
            </a>
          </dd>
        </div>
      </dl>
    </Panel>
  );
}
