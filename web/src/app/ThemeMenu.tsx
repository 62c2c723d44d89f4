/** Light, dark, or as the system is. */

import { ActionIcon, Menu, useMantineColorScheme, type MantineColorScheme } from "@mantine/core";
import { Icon, type IconName } from "@/parts/Icon";

const SCHEMES: readonly { scheme: MantineColorScheme; word: string; icon: IconName }[] = [
  { scheme: "light", word: "Light", icon: "sun" },
  { scheme: "dark", word: "Dark", icon: "moon" },
  { scheme: "auto", word: "As the system", icon: "system" },
];

export function ThemeMenu() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const current = SCHEMES.find((each) => each.scheme === colorScheme) ?? SCHEMES[2];
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon aria-label={`Theme: ${current?.word ?? ""}`}>
          <Icon name={current?.icon ?? "system"} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {SCHEMES.map(({ scheme, word, icon }) => (
          <Menu.Item
            key={scheme}
            leftSection={<Icon name={icon} />}
            rightSection={scheme === colorScheme ? <Icon name="check" size={14} /> : null}
            onClick={() => setColorScheme(scheme)}
          >
            {word}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
