/** Adding and changing a target. Loads what the form needs, then lets it be filled in. */

import { useSearchParams } from "wouter";
import { useKinds } from "@/api/kinds";
import { useTarget } from "@/api/targets";
import { Failed, Loading } from "@/parts/States";
import { Editor } from "./Editor";
import { guessed } from "./guess";

export default function TargetForm({ id }: { id: number | null }) {
  return id === null ? <NewTarget /> : <ChangedTarget id={id} />;
}

function NewTarget() {
  const kinds = useKinds();
  const [parameters] = useSearchParams();
  if (kinds.isPending) return <Loading rows={6} label="Loading the form" />;
  if (kinds.data === undefined) {
    return <Failed error={kinds.error} what="the form" retry={() => void kinds.refetch()} />;
  }
  const guess = guessed(parameters.get("from") ?? "");
  const kind = guess?.kind ?? parameters.get("kind") ?? "http";
  return <Editor kinds={kinds.data} target={null} kind={kind} initial={guess?.fields ?? {}} />;
}

function ChangedTarget({ id }: { id: number }) {
  const kinds = useKinds();
  const target = useTarget(id);
  if (kinds.isPending || target.isPending || target.isPlaceholderData) {
    return <Loading rows={6} label="Loading the form" />;
  }
  if (kinds.data === undefined || target.data === undefined) {
    return (
      <Failed
        error={kinds.error ?? target.error}
        what="the form"
        retry={() => void Promise.all([kinds.refetch(), target.refetch()])}
      />
    );
  }
  return <Editor kinds={kinds.data} target={target.data} kind={target.data.kind} initial={{}} />;
}
