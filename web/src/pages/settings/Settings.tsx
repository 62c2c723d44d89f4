/** Keys for programs, your password, how it looks, what this is. */

import { Keys } from "./Keys";
import { About } from "./About";
import { Appearance } from "./Appearance";
import { Password } from "./Password";
import styles from "./Settings.module.css";

export default function Settings() {
  return (
    <div className={styles.page}>
      <h1>Settings</h1>
      <Keys />
      <Password />
      <Appearance />
      <About />
    </div>
  );
}
