/** What runs on it and uses most. */

import { SegmentedControl } from "@mantine/core";
import { useState } from "react";
import type { Machine, Process } from "@/api/machineTypes";
import { Panel } from "@/parts/Panel";
import { Empty, Loading } from "@/parts/States";
import { capacity, share } from "@/words/measures";
import styles from "./Processes.module.css";

type Order = "cpu" | "memory_bytes";
const SHOWN = 15;

export function Processes({ machine: { processes } }: { machine: Machine }) {
  const [order, setOrder] = useState<Order>("cpu");
  return (
    <Panel
      title="Processes"
      flush
      aside={
        <SegmentedControl
          size="xs"
          aria-label="Which come first"
          value={order}
          onChange={(value) => setOrder(value)}
          data={[
            { value: "cpu", label: "CPU" },
            { value: "memory_bytes", label: "Memory" },
          ]}
        />
      }
    >
      {processes === undefined ? (
        <Loading rows={4} label="Loading the processes" />
      ) : processes === null || processes.length === 0 ? (
        <Empty title="It does not tell what runs on it" />
      ) : (
        <table className={styles.table}>
          <thead>
            <tr>
              <th>Name</th>
              <th className={styles.wide}>User</th>
              <th className={`${styles.number ?? ""} ${styles.wide ?? ""}`}>PID</th>
              <th className={styles.number} aria-sort={order === "cpu" ? "descending" : undefined}>
                CPU
              </th>
              <th className={styles.number} aria-sort={order === "memory_bytes" ? "descending" : undefined}>
                Memory
              </th>
            </tr>
          </thead>
          <tbody>
            {first(processes, order).map((process) => (
              <tr key={process.pid}>
                <td className={styles.name}>{process.name}</td>
                <td className={styles.wide}>{process.user}</td>
                <td className={`${styles.number ?? ""} ${styles.wide ?? ""}`}>{process.pid}</td>
                <td className={styles.number} data-tip="100 % is one core">
                  {share(process.cpu)}
                </td>
                <td className={styles.number}>{capacity(process.memory_bytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

function first(processes: readonly Process[], order: Order): Process[] {
  return [...processes].sort((a, b) => (b[order] ?? -1) - (a[order] ?? -1) || a.pid - b.pid).slice(0, SHOWN);
}
