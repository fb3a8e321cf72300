// Short notices at the edge of the screen: what went wrong, or what was done.

import { signal } from "@preact/signals";
import { ApiError } from "../api/client";
import { t } from "../i18n";

export interface Toast {
  id: number;
  text: string;
  kind: "error" | "info";
}

const SHOWN_MS = 7_000;
const MOST = 4;

export const toasts = signal<Toast[]>([]);
let lastId = 0;

export function toast(text: string, kind: Toast["kind"] = "info"): void {
  // The same trouble twice is one trouble.
  const others = toasts.value.filter((shown) => shown.text !== text);
  const id = ++lastId;
  toasts.value = [...others, { id, text, kind }].slice(-MOST);
  setTimeout(() => dismiss(id), SHOWN_MS);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((shown) => shown.id !== id);
}

/** What an error says to the user, in the user's language. */
export function explain(error: unknown): string {
  if (!(error instanceof ApiError)) return t("error_unexpected");
  if (error.status === 0) return t("error_network");
  const fields = Object.values(error.fields).join(" ");
  return fields || error.detail || t("error_server", { status: error.status });
}

/** For the end of a promise that nobody waits for. */
export function report(error: unknown): void {
  // After a sign-out the screen itself says so.
  if (error instanceof ApiError && error.status === 401) return;
  if (!(error instanceof ApiError)) console.error(error);
  toast(explain(error), "error");
}
