/** The house: rail, top bar, live sign, keyboard, and the page in the middle. */

import { ActionIcon } from "@mantine/core";
import { lazy, Suspense, useCallback, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { live } from "@/api/live";
import type { Session } from "@/api/types";
import { Bell } from "@/parts/Bell";
import { Icon } from "@/parts/Icon";
import { LiveSign } from "./LiveSign";
import { Pages } from "./Pages";
import { ROOMS, roomOf } from "./rooms";
import { useShortcuts } from "./shortcuts";
import styles from "./Shell.module.css";
import { ThemeMenu } from "./ThemeMenu";
import { UserMenu } from "./UserMenu";
import { useTabSigns } from "./tab";

const palette = () => import("./Palette");
const Palette = lazy(palette);
const Help = lazy(() => import("./Help"));

const PREFETCH_AFTER_MS = 500;

type Overlay = "palette" | "help" | null;

export function Shell({ session }: { session: Session }) {
  const [path, go] = useLocation();
  const [overlay, setOverlay] = useState<Overlay>(null);
  const close = useCallback(() => setOverlay(null), []);

  // The first key after `/` must find the search there.
  useEffect(() => {
    const idle = window.setTimeout(() => void palette(), PREFETCH_AFTER_MS);
    return () => window.clearTimeout(idle);
  }, []);

  useEffect(() => {
    live.open();
    return () => live.close();
  }, []);

  useShortcuts({
    search: () => setOverlay("palette"),
    help: () => setOverlay("help"),
    add: () => go(path.startsWith("/machines") ? "/machines/new" : "/targets/new"),
    go,
  });
  useTabSigns();

  const room = roomOf(path);
  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#page">
        Skip to the page
      </a>
      <nav className={styles.rail} aria-label="Rooms">
        <Link href="/" className={styles.brand}>
          <Bell size={20} />
          <span>Tocsin</span>
        </Link>
        <ul className={styles.rooms}>
          {ROOMS.map((each) => (
            <li key={each.path}>
              <Link
                href={each.path}
                className={styles.room}
                aria-current={each === room ? "page" : undefined}
                data-tip={`g then ${each.letter}`}
              >
                <Icon name={each.icon} />
                <span>{each.name}</span>
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <header className={styles.top}>
        <Link href="/" className={styles.phoneBrand} aria-label="Tocsin, overview">
          <Bell size={20} />
        </Link>
        <button type="button" className={styles.search} onClick={() => setOverlay("palette")}>
          <Icon name="search" size={14} />
          <span className={styles.searchWord}>Search or jump to</span>
          <kbd className={styles.key}>/</kbd>
        </button>
        <div className={styles.tools}>
          <LiveSign />
          <ActionIcon
            className={styles.wideOnly ?? ""}
            aria-label="Keyboard shortcuts"
            data-tip="Keyboard shortcuts: ?"
            onClick={() => setOverlay("help")}
          >
            <Icon name="keyboard" />
          </ActionIcon>
          <ThemeMenu />
          <UserMenu name={session.user.name} />
        </div>
      </header>
      <main id="page" className={styles.page} tabIndex={-1}>
        <Pages />
      </main>
      <Suspense fallback={null}>
        {overlay === "palette" && <Palette close={close} />}
        {overlay === "help" && <Help close={close} />}
      </Suspense>
    </div>
  );
}
