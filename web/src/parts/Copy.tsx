/** Puts a text on the clipboard and says so. */

import { ActionIcon, Button } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { Icon } from "./Icon";

interface Props {
  text: string;
  /** What is copied: "the ping address". */
  what: string;
  /** A word on the button; without one it is an icon. */
  label?: string;
}

export function Copy({ text, what, label }: Props) {
  const clipboard = useClipboard({ timeout: 1_500 });
  const icon = <Icon name={clipboard.copied ? "check" : "copy"} size={14} />;
  const said = clipboard.copied ? "Copied" : `Copy ${what}`;
  if (label === undefined) {
    return (
      <ActionIcon aria-label={said} data-tip={said} onClick={() => clipboard.copy(text)}>
        {icon}
      </ActionIcon>
    );
  }
  return (
    <Button variant="default" size="xs" leftSection={icon} onClick={() => clipboard.copy(text)}>
      {clipboard.copied ? "Copied" : label}
    </Button>
  );
}
