/** The public page: how far it can be believed, how everything stands, then machines and targets, the worst first. */

import { memo, useEffect, useMemo, useState, type ReactNode } from "react";
import { Bell } from "@/parts/Bell";
import { Icon } from "@/parts/Icon";
import { useSettled } from "@/parts/settled";
import { Sign, type SignName } from "@/parts/Sign";
import { useNow } from "@/words/clock";
import { tabTitle } from "@/words/verdicts";
import styles from "./Board.module.css";
import { useKnown, type Known } from "./feed";
import { InSight } from "./InSight";
import { MachineCard } from "./MachineCard";
import type { Machine, Picture, Target } from "./picture";
import {
  belief,
  countsOf,
  headline,
  ordering,
  sentence,
  shortly,
  unshown,
  worst,
  type Belief,
} from "./standing";
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
  const more = unshown(known);
  const isOld = believed !== "live";
  const empty = known.machines.length === 0 && known.targets.length === 0;
  return (
    <>
      {said !== "" && <Notice>{said}</Notice>}
      {empty ? (
        <Nothing believed={believed} connected={known.source.connected} />
      ) : (
        <Stand machines={known.machines} targets={known.targets} isPart={more !== ""} isOld={isOld} />
      )}
      {more !== "" && <Notice>{more}</Notice>}
      <Machines all={known.machines} isOld={isOld} />
      <Targets all={known.targets} isOld={isOld} />
    </>
  );
}

function Notice({ children }: { children: string }) {
  return (
    <p className={styles.notice}>
      <Icon name="warning" /> <span>{children}</span>
    </p>
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

interface Standing extends Pick<Picture, "machines" | "targets"> {
  /** There are more than these. */
  isPart: boolean;
  isOld: boolean;
}

const Stand = memo(function Stand({ machines, targets, isPart, isOld }: Standing) {
  const picture = { machines, targets };
  const sign = worst(countsOf(picture));
  return (
    <h1 className={styles.headline} data-old={isOld || undefined}>
      {sign !== null && <Sign of={isOld ? "unknown" : sign} size={18} />}
      <span>{headline(picture, { isPart, isOld })}</span>
    </h1>
  );
});

const Machines = memo(function Machines({ all, isOld }: { all: readonly Machine[]; isOld: boolean }) {
  const [hold, setHold] = useState(false);
  const machines = useInOrder(all, hold);
  if (machines.length === 0) return null;
  return (
    <section aria-label="Machines" onPointerEnter={() => setHold(true)} onPointerLeave={() => setHold(false)}>
      <InSight items={machines} leastWidth={264} about={152} gap={16}>
        {(machine) => <MachineCard machine={machine} isOld={isOld} />}
      </InSight>
    </section>
  );
});

const Targets = memo(function Targets({ all, isOld }: { all: readonly Target[]; isOld: boolean }) {
  const [hold, setHold] = useState(false);
  const targets = useInOrder(all, hold);
  if (targets.length === 0) return null;
  return (
    <section className={styles.targets} aria-label="Targets">
      <h2>Targets</h2>
      <div className={styles.rows} onPointerEnter={() => setHold(true)} onPointerLeave={() => setHold(false)}>
        <InSight items={targets} leastWidth={null} about={41} gap={0}>
          {(target) => <TargetRow target={target} isOld={isOld} />}
        </InSight>
      </div>
    </section>
  );
});

/** The worst first; nothing moves under a pointer (`hold`). */
function useInOrder<T extends Machine | Target>(all: readonly T[], hold: boolean): readonly T[] {
  const [inOrder] = useState(() => ordering<T>());
  const fresh = useMemo(() => inOrder(all), [inOrder, all]);
  return useSettled(fresh, all, { hold, unless: "" });
}

/** "2 down · Tocsin" and the worst sign; while it cannot be believed, why not, and the sign of not knowing. */
function useTabSigns(known: Known, believed: Belief): void {
  const counts = useMemo(() => countsOf(known), [known]);
  const sign = believed === "live" ? (worst(counts) ?? "bell") : "unknown";
  const title = believed === "live" ? tabTitle(counts, "") : `${shortly(believed)} · Tocsin`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  useEffect(() => {
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (icon !== null) icon.href = `/signs/${sign}.svg`;
  }, [sign]);
}
