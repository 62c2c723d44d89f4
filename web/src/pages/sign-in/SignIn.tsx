/** The door: a name, a password, and where to find them the first time. */

import { Button, PasswordInput, TextInput } from "@mantine/core";
import { useEffect, type SubmitEvent } from "react";
import { problemFrom } from "@/api/client";
import { useSignIn } from "@/api/session";
import { prefetchPages } from "@/app/Pages";
import { Bell } from "@/parts/Bell";
import styles from "./SignIn.module.css";

export default function SignIn() {
  const signIn = useSignIn();

  useEffect(() => {
    document.title = "Sign in · Tocsin";
    // What comes next is fetched while the password is typed.
    prefetchPages();
  }, []);

  const submit = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    signIn.mutate({ name: text(form, "name"), password: text(form, "password") });
  };

  return (
    <main className={styles.door}>
      <form className={styles.form} onSubmit={submit} aria-label="Sign in">
        <div className={styles.mark}>
          <Bell size={36} />
          <h1>Tocsin</h1>
        </div>
        <TextInput
          name="name"
          label="Name"
          autoComplete="username"
          defaultValue="admin"
          required
          withAsterisk={false}
        />
        <PasswordInput
          name="password"
          label="Password"
          autoComplete="current-password"
          required
          withAsterisk={false}
          autoFocus
          error={signIn.isError ? refusal(signIn.error) : undefined}
        />
        <Button type="submit" fullWidth loading={signIn.isPending}>
          Sign in
        </Button>
        <p className={styles.hint}>
          First time here? Tocsin printed the password in its terminal when it started, unless{" "}
          <code>TOCSIN_ADMIN_PASSWORD</code> chose one.
        </p>
      </form>
    </main>
  );
}

function text(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value : "";
}

function refusal(error: unknown): string {
  const problem = problemFrom(error);
  return problem.status === 401 ? "That name and password do not belong together." : problem.message;
}
