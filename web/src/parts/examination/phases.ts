/** The phases of a check: their order, names and colours. */

import type { Phases } from "@/api/types";

export interface Phase {
  field: keyof Phases;
  name: string;
  colour: string;
}

export const PHASES: readonly Phase[] = [
  { field: "dns_ms", name: "DNS", colour: "--phase-dns" },
  { field: "connect_ms", name: "connect", colour: "--phase-connect" },
  { field: "tls_ms", name: "TLS", colour: "--phase-tls" },
  { field: "first_byte_ms", name: "first byte", colour: "--phase-first-byte" },
  { field: "transfer_ms", name: "transfer", colour: "--phase-transfer" },
];
