/** What targets can be: /v1/kinds, and the live check of an expression. */

import { useQuery } from "@tanstack/react-query";
import { key } from "./cache";
import { getAll, send } from "./client";
import type { ExpressionVerdict, TargetKind } from "./types";

export function useKinds() {
  return useQuery<TargetKind[]>({
    queryKey: key.kinds,
    staleTime: Infinity,
    queryFn: ({ signal }) => getAll<TargetKind>("/v1/kinds", signal),
  });
}

/** Whether an expression would be accepted; asked while it is typed, so the answer is kept per text. */
export function useExpressionCheck(kind: string, expression: string) {
  return useQuery<ExpressionVerdict>({
    queryKey: ["expression", kind, expression],
    enabled: expression.trim() !== "",
    staleTime: Infinity,
    gcTime: 60_000,
    retry: false,
    queryFn: () => send<ExpressionVerdict>("POST", "/v1/expressions/check", { kind, expression }),
  });
}
