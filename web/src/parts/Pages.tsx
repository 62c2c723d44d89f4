/** A list that comes page by page, in each of its states: on its way, refused, empty, there, with older ones to ask for. */

import { Button } from "@mantine/core";
import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { Page } from "@/api/types";
import { Failed, Loading } from "./States";

interface Props<T> {
  query: UseInfiniteQueryResult<InfiniteData<Page<T>>>;
  /** As in "the checks". */
  what: string;
  /** How many rows stand in while it is on its way. */
  rows: number;
  empty: ReactNode;
  children: (items: readonly T[]) => ReactNode;
}

export function Pages<T>({ query, what, rows, empty, children }: Props<T>) {
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = query;
  if (isPending) return <Loading rows={rows} label={`Loading ${what}`} />;
  if (data === undefined) return <Failed error={error} what={what} retry={() => void refetch()} />;
  const items = data.pages.flatMap((page) => page.items);
  return (
    <>
      {items.length === 0 ? empty : children(items)}
      {hasNextPage && (
        <Button
          variant="subtle"
          size="xs"
          m={8}
          loading={isFetchingNextPage}
          onClick={() => void fetchNextPage()}
        >
          Older
        </Button>
      )}
    </>
  );
}
