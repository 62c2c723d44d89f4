/** Time, shown twice: as people say it, and exactly in the reader's zone on hover. */

import { ago, duration, exact, moment, roughDuration } from "@/words/time";
import { useNow } from "@/words/clock";

interface Props {
  /** RFC 3339. */
  at: string;
}

/** "4 min ago". */
export function Ago({ at }: Props) {
  const now = useNow();
  const atMs = Date.parse(at);
  return <Stamp at={at}>{ago(atMs, now)}</Stamp>;
}

/** "4 min": how long it has been so. */
export function Since({ at, rough = false }: Props & { rough?: boolean }) {
  const now = useNow();
  return <Stamp at={at}>{(rough ? roughDuration : duration)(now - Date.parse(at))}</Stamp>;
}

/** "14:03" or "3 May, 14:03". */
export function Moment({ at, seconds = false }: Props & { seconds?: boolean }) {
  const now = useNow();
  const atMs = Date.parse(at);
  return (
    <time dateTime={at} data-tip={`${exact(atMs)}\n${ago(atMs, now)}`}>
      {moment(atMs, now, { seconds })}
    </time>
  );
}

function Stamp({ at, children }: Props & { children: string }) {
  return (
    <time dateTime={at} data-tip={exact(Date.parse(at))}>
      {children}
    </time>
  );
}
