/** Who is signed in: /v1/session, and the change of password. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { key, queries } from "./cache";
import { get, Problem, send, whenSignedOut } from "./client";
import { prefetchTargets } from "./targets";
import type { Session } from "./types";

/** null when nobody is signed in. */
export function useSession() {
  return useQuery<Session | null>({
    queryKey: key.session,
    staleTime: Infinity,
    queryFn: async ({ signal }) => {
      try {
        return await get<Session>("/v1/session", signal);
      } catch (error) {
        if (error instanceof Problem && error.status === 401) return null;
        throw error;
      }
    },
  });
}

export function useSignIn() {
  return useMutation({
    mutationFn: (credentials: { name: string; password: string }) =>
      send<Session>("POST", "/v1/session", credentials),
    onSuccess: (session) => {
      if (location.pathname === "/targets") prefetchTargets();
      queries.setQueryData(key.session, session);
    },
  });
}

export function useSignOut() {
  return useMutation({
    mutationFn: () => send<undefined>("DELETE", "/v1/session"),
    onSuccess: forgetEverything,
  });
}

export function useChangePassword() {
  return useMutation({
    mutationFn: (passwords: { current: string; new: string }) =>
      send<undefined>("POST", "/v1/settings/password", passwords),
  });
}

function forgetEverything(): void {
  queries.clear();
  queries.setQueryData(key.session, null);
}

whenSignedOut(() => {
  queries.setQueryData(key.session, null);
});
