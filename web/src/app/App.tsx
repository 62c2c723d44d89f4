/** Either somebody is signed in and sees the house, or nobody is and sees the door. */

import { lazy, Suspense } from "react";
import { useSession } from "@/api/session";
import { Hatch } from "@/parts/Hatch";
import { Failed, Loading } from "@/parts/States";
import { Tips } from "@/parts/Tips";
import { Toasts } from "@/parts/Toasts";
import styles from "./App.module.css";
import { Shell } from "./Shell";

const SignIn = lazy(() => import("@/pages/sign-in/SignIn"));

export function App() {
  const session = useSession();
  return (
    <>
      {session.data === null ? (
        <Suspense fallback={null}>
          <SignIn />
        </Suspense>
      ) : session.data !== undefined ? (
        <Shell session={session.data} />
      ) : session.isError ? (
        <main className={styles.alone}>
          <Failed error={session.error} what="this page" retry={() => void session.refetch()} />
        </main>
      ) : (
        <main className={styles.waiting}>
          <Loading label="Loading Tocsin" />
        </main>
      )}
      <Hatch />
      <Toasts />
      <Tips />
    </>
  );
}
