/** How something stands, in a line: "up for 4 min"; "was up since 14:03" where nobody vouches for it any more. */

import { Moment, Since } from "@/parts/Time";

interface Props {
  word: string;
  since?: string | null | undefined;
  reason?: string | undefined;
  isOld: boolean;
}

export function StandWords({ word, since, reason, isOld }: Props) {
  return (
    <>
      {isOld && "was "}
      {word}
      {since !== undefined && since !== null && (
        <>
          {isOld ? " since " : " for "}
          {isOld ? <Moment at={since} /> : <Since at={since} rough />}
        </>
      )}
      {reason !== undefined && reason !== "" && `: ${reason}`}
    </>
  );
}
