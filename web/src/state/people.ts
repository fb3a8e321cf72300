// Who people are: their names and pictures, as they have been heard of anywhere, and who is there now.

import { signal } from "@preact/signals";
import type { RoomUser, User } from "../api/types";
import { onLive } from "./live";

type Known = RoomUser & { avatar_url: string };

const people = signal<ReadonlyMap<number, Known>>(new Map());

const same = (a: Known | undefined, b: Known): boolean =>
  a !== undefined &&
  a.username === b.username &&
  a.display_name === b.display_name &&
  a.avatar_url === b.avatar_url;

/** What the server has just said of them; lists of rooms do not tell pictures. */
export function meet(users: readonly (User | RoomUser)[]): void {
  const known = people.peek();
  const changed = new Map<number, Known>();
  for (const user of users) {
    const avatar = "avatar_url" in user ? user.avatar_url : (known.get(user.id)?.avatar_url ?? "");
    const { id, username, display_name } = user;
    const now = { id, username, display_name, avatar_url: avatar };
    if (!same(known.get(id), now)) changed.set(id, now);
  }
  if (changed.size > 0) people.value = new Map([...known, ...changed]);
}

/** Who has a page open now, of those with whom one shares a room. */
export const online = signal<ReadonlySet<number>>(new Set());

onLive((frame) => {
  if (frame.type === "hello") online.value = new Set(frame.data.online ?? []);
  if (frame.type !== "presence") return;
  const now = new Set(online.peek());
  for (const id of frame.data.online) now.add(id);
  for (const id of frame.data.offline) now.delete(id);
  online.value = now;
});

export const isOnline = (id: number): boolean => online.value.has(id);

export const person = (id: number): Known | undefined => people.value.get(id);

export function nameOf(user: { username: string; display_name: string }): string {
  return user.display_name || user.username;
}

export function avatarOf(id: number): string {
  return people.value.get(id)?.avatar_url ?? "";
}
