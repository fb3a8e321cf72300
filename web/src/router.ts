// Hash routes, so that no secret stands in a path or in a log of the server.

import { signal } from "@preact/signals";

export type Route =
  | { name: "home" }
  | { name: "room"; id: number; message: number | null }
  | { name: "join"; uuid: string }
  | { name: "setup" | "reset" | "oidc"; token: string }
  | { name: "oidc-error"; word: string }
  | { name: "explore" | "settings" | "admin"; part: string }
  | { name: "search"; query: string }
  | { name: "mentions" };

const ID = /^[1-9]\d{0,14}$/;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What an address after `#` names; anything unknown is home. */
export function parseRoute(hash: string): Route {
  const [name, argument = "", second = ""] = hash.replace(/^#\/?/, "").split("/");
  switch (name) {
    case "room":
      if (!ID.test(argument)) break;
      return { name, id: Number(argument), message: ID.test(second) ? Number(second) : null };
    case "join":
      if (argument === "") break;
      return { name, uuid: argument };
    case "setup":
    case "reset":
    case "oidc":
      if (argument === "") break;
      return { name, token: argument };
    case "oidc-error":
      return { name, word: argument };
    case "oidc-linked":
      return { name: "settings", part: "security" };
    case "explore":
    case "settings":
    case "admin":
      return { name, part: argument };
    case "search":
      return { name, query: decoded(argument) };
    case "mentions":
      return { name };
  }
  return { name: "home" };
}

export const route = signal(parseRoute(location.hash));

window.addEventListener("hashchange", () => {
  route.value = parseRoute(location.hash);
});

export const roomPath = (id: number, message?: number): string =>
  message === undefined ? `#/room/${id}` : `#/room/${id}/${message}`;

/** Opens an address; with `replace`, the one before it is no longer in the history. */
export function navigate(path: string, replace = false): void {
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  route.value = parseRoute(path);
}
