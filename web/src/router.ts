// Hash routes, so that no secret stands in a path or in a log of the server.

import { signal } from "@preact/signals";

export type Route =
  | { name: "home" }
  | { name: "room"; id: number; message: number | null }
  | { name: "join"; uuid: string }
  | { name: "setup"; token: string };

const ID = /^[1-9]\d{0,14}$/;

/** What an address after `#` names; anything unknown is home. */
export function parseRoute(hash: string): Route {
  const [name, argument = "", second = ""] = hash.replace(/^#\/?/, "").split("/");
  if (name === "room" && ID.test(argument))
    return { name, id: Number(argument), message: ID.test(second) ? Number(second) : null };
  if (name === "join" && argument !== "") return { name, uuid: argument };
  if (name === "setup" && argument !== "") return { name, token: argument };
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
