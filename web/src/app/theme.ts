/** Mantine, made quiet: system type, one accent, small radii, no shadows. Colours come from tokens.css. */

import { createTheme, type MantineColorsTuple } from "@mantine/core";

const bell: MantineColorsTuple = [
  "#f1f0ff",
  "#e0defb",
  "#c3bff4",
  "#a39dee",
  "#867fe8",
  "#6f67e0",
  "#564ed2",
  "#4b45c6",
  "#3f39ab",
  "#332e8c",
];

/** The greys of tokens.css, as Mantine counts them. */
const dark: MantineColorsTuple = [
  "#d4d5dc",
  "#b4b6c0",
  "#8f93a0",
  "#5d606b",
  "#383b45",
  "#2a2c34",
  "#15161a",
  "#121317",
  "#101114",
  "#0c0d0f",
];

export const theme = createTheme({
  fontFamily: "var(--font)",
  fontFamilyMonospace: "var(--mono)",
  primaryColor: "bell",
  primaryShade: { light: 7, dark: 6 },
  colors: { bell, dark },
  defaultRadius: 6,
  cursorType: "pointer",
  respectReducedMotion: true,
  fontSizes: { xs: "12px", sm: "14px", md: "14px", lg: "16px", xl: "20px" },
  components: {
    Button: { defaultProps: { size: "sm", fw: 500 } },
    ActionIcon: { defaultProps: { variant: "subtle", color: "gray", size: 32 } },
    Modal: {
      defaultProps: {
        centered: true,
        closeButtonProps: { "aria-label": "Close" },
        transitionProps: { duration: 100 },
        overlayProps: { backgroundOpacity: 0.4 },
      },
    },
    Drawer: {
      defaultProps: {
        closeButtonProps: { "aria-label": "Close" },
        transitionProps: { duration: 120 },
        overlayProps: { backgroundOpacity: 0.3 },
      },
    },
    Menu: { defaultProps: { transitionProps: { duration: 80 }, shadow: "sm", radius: 6 } },
    Popover: { defaultProps: { transitionProps: { duration: 80 } } },
    Combobox: { defaultProps: { transitionProps: { duration: 80 }, shadow: "sm" } },
  },
});
