/** Who you are, and the way out. */

import { ActionIcon, Menu } from "@mantine/core";
import { useLocation } from "wouter";
import { useSignOut } from "@/api/session";
import { Icon } from "@/parts/Icon";
import { complain } from "@/parts/Toasts";

export function UserMenu({ name }: { name: string }) {
  const signOut = useSignOut();
  const [, go] = useLocation();
  return (
    <Menu position="bottom-end" width={200}>
      <Menu.Target>
        <ActionIcon aria-label={`Signed in as ${name}`}>
          <Icon name="user" />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Signed in as {name}</Menu.Label>
        <Menu.Item onClick={() => go("/settings")}>Keys and password</Menu.Item>
        <Menu.Item
          onClick={() => signOut.mutate(undefined, { onError: (error) => complain("Not signed out", error) })}
        >
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
