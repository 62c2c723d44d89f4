/**
 * One tip for the whole page. Anything with `data-tip` shows its text on hover and on focus; ten thousand rows with two
 * dozen cells each need no listener of their own. The text is never the only place of a fact: names and labels carry it too.
 */

import { useEffect, useRef } from "react";
import styles from "./Tips.module.css";

const DELAY_MS = 180;

export function Tips() {
  const tip = useRef<HTMLDivElement>(null);

  useEffect(() => {
    let shown: Element | null = null;
    let timer: number | undefined;

    const hide = () => {
      window.clearTimeout(timer);
      shown = null;
      tip.current?.removeAttribute("data-shown");
    };
    const show = (element: Element, delayMs: number) => {
      if (element === shown) return;
      const wait = shown === null ? delayMs : 0;
      hide();
      shown = element;
      timer = window.setTimeout(() => place(tip.current, element), wait);
    };
    const over = (event: Event) => {
      const element = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
      if (element === null) hide();
      else show(element, event.type === "focusin" ? 0 : DELAY_MS);
    };
    const focused = (event: FocusEvent) => {
      if (event.target instanceof Element && event.target.matches(":focus-visible")) over(event);
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key === "Escape") hide();
    };

    document.addEventListener("pointerover", over);
    document.addEventListener("focusin", focused);
    document.addEventListener("focusout", hide);
    document.addEventListener("scroll", hide, true);
    document.addEventListener("pointerdown", hide);
    document.addEventListener("keydown", escape);
    return () => {
      hide();
      document.removeEventListener("pointerover", over);
      document.removeEventListener("focusin", focused);
      document.removeEventListener("focusout", hide);
      document.removeEventListener("scroll", hide, true);
      document.removeEventListener("pointerdown", hide);
      document.removeEventListener("keydown", escape);
    };
  }, []);

  return <div ref={tip} className={styles.tip} aria-hidden />;
}

function place(tip: HTMLDivElement | null, element: Element): void {
  const text = element.getAttribute("data-tip");
  if (tip === null || text === null || text === "" || !element.isConnected) return;
  tip.textContent = text;
  const target = element.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const left = Math.min(
    Math.max(8, target.left + target.width / 2 - own.width / 2),
    window.innerWidth - own.width - 8,
  );
  const above = target.top - own.height - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : target.bottom + 6}px`;
  tip.setAttribute("data-shown", "");
}
