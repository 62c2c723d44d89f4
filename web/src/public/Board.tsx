/** The public page: how far it can be believed, how everything stands, then machines and targets, the worst first. */

import { useEffect, useMemo, useState, type ReactNode } from "react";
import { Bell } from "@/parts/Bell";
import { Icon } from "@/parts/Icon";
import { useSettled } from "@/parts/settled";
import { Sign, type SignName } from "@/parts/Sign";
import { useNow } from "@/words/clock";
import { tabTitle } from "@/words/verdicts";
import styles from "./Board.module.css";
import { useKnown, type Known } from "./feed";
import { MachineCard } from "./MachineCard";
import { belief, countsOf, headline, inOrder, sentence, shortly, worst, type Belief } from "./standing";
import { TargetRow } from "./TargetRow";
import { Theme } from "./Theme";

const BELIEF_SIGN: Record<Belief, SignName> = {
  live: "up",
  old: "unknown",
  gone: "unknown",
  lost: "unknown",
  none: "unknown",
};

export function Board() {
  const known = useKnown();
  // The clock is put right by the first message: nothing is said of any age before.
  return known.arriving ? <Frame /> : <Arrived known={known} />;
}

function Arrived({ known }: { known: Known }) {
  const now = useNow();
  const believed = belief(known.online, known.source, now);
  useTabSigns(known, believed);
  return (
    <Frame believed={believed}>
      <Contents known={known} believed={believed} now={now} />
    </Frame>
  );
}

function Frame({ believed, children }: { believed?: Belief; children?: ReactNode }) {
  return (
    <div className={styles.page}>
      <header className={styles.top}>
        <span className={styles.brand}>
          <Bell size={20} />
          <span>Tocsin</span>
        </span>
        <p className={styles.belief} data-belief={believed} role="status">
          {believed !== undefined && (
            <>
              <Sign of={BELIEF_SIGN[believed]} size={9} />
              <span>{shortly(believed)}</span>
            </>
          )}
        </p>
        <Theme />
      </header>
      <main className={styles.main}>{children}</main>
    </div>
  );
}

function Contents({ known, believed, now }: { known: Known; believed: Belief; now: number }) {
  const said = sentence(believed, known.source, now);
  const empty = known.machines.length === 0 && known.targets.length === 0;
  return (
    <>
      {said !== "" && (
        <p className={styles.notice}>
          <Icon name="warning" /> <span>{said}</span>
        </p>
      )}
      {empty ? <Nothing believed={believed} connected={known.source.connected} /> : <Stand known={known} />}
      <Machines known={known} isOld={believed !== "live"} />
      <Targets known={known} />
    </>
  );
}

function Nothing({ believed, connected }: { believed: Belief; connected: boolean }) {
  if (believed === "lost") return null;
  return (
    <div className={styles.nothing}>
      <h1>{believed === "none" ? "No data yet" : "Nothing to show"}</h1>
      <p className="muted">
        {believed !== "none"
          ? "No machine and no target is shown here."
          : connected
            ? "The source of this page is there and has not said anything yet."
            : "The source of this page has not been there since the page's server was started."}
      </p>
    </div>
  );
}

function Stand({ known }: { known: Known }) {
  const sign = worst(countsOf(known));
  return (
    <h1 className={styles.headline}>
      {sign !== null && <Sign of={sign} size={18} />}
      <span>{headline(known)}</span>
    </h1>
  );
}

function Machines({ known, isOld }: { known: Known; isOld: boolean }) {
  const [hold, setHold] = useState(false);
  const fresh = useMemo(() => inOrder(known.machines), [known.machines]);
  const machines = useSettled(fresh, known.machines, { hold, unless: "" });
  if (machines.length === 0) return null;
  return (
    <section aria-label="Machines">
      <ul className={styles.cards} onPointerEnter={() => setHold(true)} onPointerLeave={() => setHold(false)}>
        {machines.map((machine) => (
          <li key={machine.id} className={styles.place}>
            <MachineCard machine={machine} isOld={isOld} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function Targets({ known }: { known: Known }) {
  const [hold, setHold] = useState(false);
  const fresh = useMemo(() => inOrder(known.targets), [known.targets]);
  const targets = useSettled(fresh, known.targets, { hold, unless: "" });
  if (targets.length === 0) return null;
  return (
    <section className={styles.targets} aria-label="Targets">
      <h2>Targets</h2>
      <ul className={styles.rows} onPointerEnter={() => setHold(true)} onPointerLeave={() => setHold(false)}>
        {targets.map((target) => (
          <TargetRow key={target.id} target={target} />
        ))}
      </ul>
    </section>
  );
}

/** "2 down · Tocsin" and the worst sign; while it cannot be believed, the sign of not knowing. */
function useTabSigns(known: Known, believed: Belief): void {
  const counts = useMemo(() => countsOf(known), [known]);
  const sign = believed === "live" ? (worst(counts) ?? "bell") : "unknown";
  useEffect(() => {
    document.title = tabTitle(counts, "");
  }, [counts]);
  useEffect(() => {
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (icon !== null) icon.href = `/signs/${sign}.svg`;
  }, [sign]);
}
