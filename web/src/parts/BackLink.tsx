/** The way back to where this page belongs, above its title. */

import { Link } from "wouter";
import { Icon } from "./Icon";
import styles from "./BackLink.module.css";

export function BackLink({ href, label }: { href: string; label: string }) {
  return (
    <Link href={href} className={styles.back}>
      <Icon name="back" size={14} /> {label}
    </Link>
  );
}
