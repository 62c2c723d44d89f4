/** How a deployment ended. The shape alone tells it; colour only helps. */

import type { Deployment } from "@/api/types";

const COLOUR: Record<Deployment["status"], string> = {
  succeeded: "--deploy",
  running: "--deploy",
  failed: "--deploy-failed",
  canceled: "--deploy",
};

export function Glyph({ of }: { of: Deployment["status"] }) {
  return (
    <svg
      width="12"
      height="12"
      viewBox="0 0 12 12"
      fill="none"
      stroke="currentColor"
      strokeLinejoin="round"
      strokeLinecap="round"
      style={{ flex: "none", color: `var(${COLOUR[of]})` }}
      aria-hidden
      data-status={of}
    >
      <Shape of={of} />
    </svg>
  );
}

/** The same as on the charts, see draw.ts. */
function Shape({ of }: { of: Deployment["status"] }) {
  switch (of) {
    case "succeeded":
      return <path d="M6 1.5 11 10.5H1Z" fill="currentColor" stroke="none" />;
    case "running":
      return <path d="M6 2.5 10.25 9.75H1.75Z" strokeWidth="1.5" />;
    case "failed":
      return <path d="M2 2l8 8M10 2l-8 8" strokeWidth="2" />;
    case "canceled":
      return <path d="M1.5 6h9" strokeWidth="2" />;
  }
}
