/** What it is, as it says itself. */

import type { ReactNode } from "react";
import { Link } from "wouter";
import type { Machine } from "@/api/machineTypes";
import { Panel } from "@/parts/Panel";
import { Moment } from "@/parts/Time";
import { seconds } from "@/words/time";
import styles from "./Facts.module.css";

/** OpenTelemetry's names in people's words; what nobody knows is shown under its own name. */
const WORDS = new Map([
  ["os.description", "System"],
  ["os.type", "OS"],
  ["os.name", "Distribution"],
  ["os.version", "Version"],
  ["os.kernel.release", "Kernel"],
  ["host.arch", "Architecture"],
  ["host.cpu.model.name", "Processor"],
  ["host.name", "Host name"],
  ["host.id", "Host id"],
  ["host.ip", "Address"],
]);

export function Facts({ machine }: { machine: Machine }) {
  const { facts, version, every_s, key, tags, uid, created_at } = machine;
  return (
    <Panel title="What it is">
      <dl className={styles.facts}>
        {Object.entries(facts)
          .filter(isNews(facts))
          .map(([name, value]) => (
            <Fact key={name} name={WORDS.get(name) ?? name}>
              {value}
            </Fact>
          ))}
        <Fact name="Reports">every {seconds(every_s)}</Fact>
        {version !== "" && <Fact name="Collector">{version}</Fact>}
        <Fact name="Key">
          {key === null ? "none: this very installation" : key.name}
          {key?.revoked === true && <b className={styles.bad}> revoked</b>}
        </Fact>
        {tags.length > 0 && (
          <Fact name="Tags">
            <span className={styles.tags}>
              {tags.map((tag) => (
                <Link
                  key={tag}
                  href={`/machines?${new URLSearchParams({ tag }).toString()}`}
                  className="link"
                >
                  {tag}
                </Link>
              ))}
            </span>
          </Fact>
        )}
        <Fact name="First seen">
          <Moment at={created_at} />
        </Fact>
        <Fact name="Calls itself">{uid}</Fact>
      </dl>
    </Panel>
  );
}

/** A description of the system says what its name and version say. */
function isNews(facts: Machine["facts"]): (fact: [string, string]) => boolean {
  const said = "os.description" in facts ? new Set(["os.name", "os.version", "os.type"]) : new Set<string>();
  return ([name]) => !said.has(name);
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
