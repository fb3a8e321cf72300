// Dark or light: by the system, or as this browser's user has chosen.

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const STORED = "moznods.theme";

function stored(): Theme {
  const value = localStorage.getItem(STORED);
  return value === "light" || value === "dark" ? value : "system";
}

export const theme = signal<Theme>(stored());

export function setTheme(value: Theme): void {
  if (value === "system") localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, value);
  theme.value = value;
}

effect(() => {
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
});

window.addEventListener("storage", (event) => {
  if (event.key === STORED || event.key === null) theme.value = stored();
});
