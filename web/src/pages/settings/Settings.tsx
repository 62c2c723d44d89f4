/** Keys for programs, where checks are made from, what machines are judged by, your password, how it looks, what this is. */

import { Keys } from "./Keys";
import { Locations } from "./Locations";
import { TagBands } from "./TagBands";
import { About } from "./About";
import { Appearance } from "./Appearance";
import { Password } from "./Password";
import styles from "./Settings.module.css";

export default function Settings() {
  return (
    <div className={styles.page}>
      <h1>Settings</h1>
      <Keys />
      <Locations />
      <TagBands />
      <Password />
      <Appearance />
      <About />
    </div>
  );
}
