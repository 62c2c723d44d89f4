/** A job that must call in: where it calls, how, and what it said. */

import { usePings } from "@/api/history";
import type { Ping } from "@/api/types";
import { Copy } from "@/parts/Copy";
import { Pages } from "@/parts/Pages";
import { Panel } from "@/parts/Panel";
import { Sign, type SignName } from "@/parts/Sign";
import { Empty } from "@/parts/States";
import { Moment } from "@/parts/Time";
import { latency } from "@/words/numbers";
import styles from "./HeartbeatPanel.module.css";

export default function HeartbeatPanel({ id, pingUrl }: { id: number; pingUrl: string }) {
  return (
    <>
      <CallIn pingUrl={pingUrl} />
      <Pings id={id} />
    </>
  );
}

function CallIn({ pingUrl }: { pingUrl: string }) {
  const address = new URL(pingUrl, window.location.origin).href;
  const examples = [
    { what: "At the end of a job, when it went well", line: `job && curl -fsS -m 10 --retry 5 ${address}` },
    {
      what: "With the job's exit code, so that a failure is told at once",
      line: `job; curl -fsS -m 10 --retry 5 ${address}/$?`,
    },
    {
      what: "At its start, so that its duration is measured",
      line: `curl -fsS -m 10 --retry 5 ${address}/start`,
    },
  ];
  return (
    <Panel
      title="Where the job calls in"
      aside={<Copy text={address} what="the address" label="Copy address" />}
    >
      <p>
        <code className={styles.address}>{address}</code>
      </p>
      <ul className={styles.examples}>
        {examples.map(({ what, line }) => (
          <li key={what}>
            <p className="muted">{what}</p>
            <div className={styles.line}>
              <code>{line}</code>
              <Copy text={line} what="this line" />
            </div>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

const KINDS: Record<string, { sign: SignName; word: string }> = {
  success: { sign: "up", word: "success" },
  start: { sign: "unknown", word: "started" },
  fail: { sign: "down", word: "failed" },
  log: { sign: "unknown", word: "log" },
};

function Pings({ id }: { id: number }) {
  const query = usePings(id);
  return (
    <Panel title="Calls" flush>
      <Pages
        query={query}
        what="the calls"
        rows={3}
        empty={
          <Empty title="It has not called in yet">Run one of the lines above; the call appears here.</Empty>
        }
      >
        {(pings) => (
          <ol className={styles.pings}>
            {pings.map((ping, index) => (
              <PingEntry key={`${ping.at} ${index}`} ping={ping} />
            ))}
          </ol>
        )}
      </Pages>
    </Panel>
  );
}

function PingEntry({ ping }: { ping: Ping }) {
  const { sign, word } = KINDS[ping.kind] ?? { sign: "unknown" as const, word: ping.kind };
  const said = ping.body ?? "";
  return (
    <li className={styles.ping}>
      <Sign of={sign} />
      <div className={styles.what}>
        {word}
        {ping.exit_code !== null && ` with exit code ${ping.exit_code}`}
        {ping.duration_ms !== null && <span className="muted"> after {latency(ping.duration_ms)}</span>}
        <span className="muted"> from {ping.remote}</span>
        {said !== "" && (
          <details>
            <summary>What it said</summary>
            <pre className={styles.body} tabIndex={0}>
              {said}
            </pre>
          </details>
        )}
      </div>
      <span className={styles.when}>
        <Moment at={ping.at} seconds />
      </span>
    </li>
  );
}
