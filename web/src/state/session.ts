// Who is signed in, kept across reloads, and the API that speaks for them. Signing out anywhere in this browser
// signs out everywhere in it.

import { signal } from "@preact/signals";
import { createApi } from "../api/client";
import type { Me, ServerConfig, Session } from "../api/types";
import { language, t } from "../i18n";
import { report, toast } from "./toasts";

const STORED = "moznods.session";

function stored(): Session | null {
  try {
    const value = JSON.parse(localStorage.getItem(STORED) ?? "null");
    return typeof value?.token === "string" && typeof value?.user?.id === "number" ? value : null;
  } catch {
    return null;
  }
}

export const session = signal<Session | null>(stored());
/** `null` until the server has answered. */
export const serverConfig = signal<ServerConfig | null>(null);
export const serverConfigFailed = signal(false);

export const api = createApi({
  token: () => session.peek()?.token ?? null,
  language: () => language.peek(),
  onUnauthorized: (token) => {
    // An answer to a request of a former session says nothing about this one.
    if (session.peek()?.token !== token) return;
    setSession(null);
    toast(t("signed_out_elsewhere"));
  },
});

export function setSession(value: Session | null): void {
  if (value === null) localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, JSON.stringify(value));
  session.value = value;
}

window.addEventListener("storage", (event) => {
  if (event.key !== STORED && event.key !== null) return;
  const now = stored();
  if (now?.token !== session.peek()?.token) session.value = now;
});

/** The signed-in user; only for code that runs while there is one. */
export function me(): Me {
  if (session.value === null) throw new Error("nobody is signed in");
  return session.value.user;
}

export async function signOut(): Promise<void> {
  // The token must be dead on the server, not only forgotten here; without an answer the user should know.
  await api.logout();
  setSession(null);
}

/** After a socket was refused: is it this room, or is it the session? A dead session ends by the 401 of this request. */
export function checkSession(): void {
  api.me().catch(report);
}

export async function loadServerConfig(): Promise<void> {
  serverConfigFailed.value = false;
  try {
    serverConfig.value = await api.config();
  } catch (error) {
    serverConfigFailed.value = true;
    report(error);
  }
}
