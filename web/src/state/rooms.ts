// The rooms of the signed-in user, kept up to date by the news, and fetched again when those were missed.

import { computed, effect, signal, untracked } from "@preact/signals";
import { ApiError } from "../api/client";
import type { LiveFrame, Room } from "../api/types";
import { onLive, resyncs } from "./live";
import { meet } from "./people";
import { api, session } from "./session";
import { report } from "./toasts";

const PAGE_SIZE = 50;
/** A look now and then, for what no news tells (a mute that ends). */
const REFRESH_MS = 120_000;
/** Between what happens in a room and asking for its counts, which many news in a row ask for once. */
const COUNT_MS = 400;

export const rooms = signal<ReadonlyMap<number, Room>>(new Map());
export const roomsState = signal<"loading" | "ready" | "failed">("loading");
export const moreRooms = signal(false);

/** Pinned first, then the newest first. */
export const sortedRooms = computed(() =>
  [...rooms.value.values()].sort((a, b) => Number(b.is_pinned) - Number(a.is_pinned) || b.id - a.id),
);

/** Rooms that came in the order of the list; one that was opened by its address may stand further down. */
let listed = new Set<number>();
let loading = false;
const counting = new Map<number, ReturnType<typeof setTimeout>>();

function meetAll(found: readonly Room[]): void {
  meet(found.flatMap((room) => [...room.participant_users, room.owner]));
}

export function putRoom(room: Room, isListed = true): void {
  if (isListed) listed.add(room.id);
  rooms.value = new Map(rooms.peek()).set(room.id, room);
}

/** A room that the server has just told whole. */
export function takeRoom(room: Room): Room {
  meetAll([room]);
  putRoom(room);
  return room;
}

export function dropRoom(id: number): void {
  listed.delete(id);
  if (!rooms.peek().has(id)) return;
  const rest = new Map(rooms.peek());
  rest.delete(id);
  rooms.value = rest;
}

function change(id: number, changed: (room: Room) => Partial<Room>): void {
  const room = rooms.peek().get(id);
  if (room !== undefined) putRoom({ ...room, ...changed(room) }, listed.has(id));
}

export function markRoomRead(id: number): void {
  const room = rooms.peek().get(id);
  if (room !== undefined && (room.unread_count > 0 || room.mention_count > 0))
    change(id, () => ({ unread_count: 0, mention_count: 0, first_unread_id: null }));
}

/** The room as it is now; 404 and 403 take it off the list. */
export async function fetchRoom(id: number): Promise<Room | null> {
  try {
    const room = await api.room(id);
    meetAll([room]);
    putRoom(room, listed.has(id));
    return room;
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 403)) throw error;
    dropRoom(id);
    return null;
  }
}

/** Asks for the counts of a room, soon. */
function recount(id: number): void {
  if (counting.has(id)) return;
  const timer = setTimeout(() => {
    counting.delete(id);
    fetchRoom(id).catch(() => {});
  }, COUNT_MS);
  counting.set(id, timer);
}

export async function loadMoreRooms(): Promise<void> {
  if (loading || !moreRooms.peek()) return;
  const token = session.peek()?.token;
  loading = true;
  try {
    const page = await api.rooms(Math.floor(listed.size / PAGE_SIZE) + 1, PAGE_SIZE);
    if (session.peek()?.token !== token) return;
    meetAll(page.results);
    for (const room of page.results) putRoom(room);
    moreRooms.value = page.next !== null;
  } catch (error) {
    report(error);
  } finally {
    loading = false;
  }
}

/** Asks again for as much of the list as is here. */
export async function refreshRooms(): Promise<void> {
  const token = session.peek()?.token;
  const pages = Math.max(1, Math.ceil(listed.size / PAGE_SIZE));
  const found: Room[] = [];
  let more = true;
  try {
    for (let page = 1; page <= pages && more; page++) {
      const answer = await api.rooms(page, PAGE_SIZE);
      found.push(...answer.results);
      more = answer.next !== null;
    }
  } catch (error) {
    if (roomsState.peek() === "loading") roomsState.value = "failed";
    if (!(error instanceof ApiError) || error.status !== 0) report(error);
    return;
  }
  if (session.peek()?.token !== token) return;
  meetAll(found);
  const byAddress = [...rooms.peek().values()].filter((room) => !listed.has(room.id));
  listed = new Set(found.map((room) => room.id));
  rooms.value = new Map([...byAddress, ...found].map((room) => [room.id, room]));
  moreRooms.value = more;
  roomsState.value = "ready";
}

function receive(frame: LiveFrame): void {
  const myId = session.peek()?.user.id;
  switch (frame.type) {
    case "room_added":
      takeRoom(frame.data.room);
      break;
    case "room_removed":
      dropRoom(frame.data.room_id);
      break;
    case "room_updated": {
      const { owner_id, id, ...rest } = frame.data.room;
      const room = rooms.peek().get(id);
      change(id, () => rest);
      // Who owns it now is told whole by the room itself, and one's own right may have changed with it.
      if (room !== undefined && room.owner.id !== owner_id) fetchRoom(id).catch(() => {});
      break;
    }
    case "participant_changed": {
      const { room_id: id, change: what, user, role, participant_count } = frame.data;
      meet([user]);
      const { id: userId, username, display_name } = user;
      change(id, (room) => {
        const others = room.participant_users.filter((known) => known.id !== userId);
        const gone = what === "left";
        return {
          participant_count,
          participant_users: gone ? others : [...others, { id: userId, username, display_name }],
          ...(userId === myId && role !== null ? { role } : {}),
        };
      });
      break;
    }
    case "room_presence_update":
      change(frame.data.room_id, () => ({ active_call_participants: frame.data.active_participants }));
      break;
    case "chat_message": {
      const { author, id, mentions, mentions_all: all, room_id: roomId } = frame.data;
      meet([author]);
      if (author.id === myId) break;
      const mentioned = all || (myId !== undefined && mentions.includes(myId));
      change(roomId, (room) => ({
        unread_count: room.unread_count + 1,
        mention_count: room.mention_count + (mentioned ? 1 : 0),
        first_unread_id: room.first_unread_id ?? id,
      }));
      break;
    }
    case "message_deleted":
      if ((rooms.peek().get(frame.data.room_id)?.unread_count ?? 0) > 0) recount(frame.data.room_id);
      break;
    case "message_read":
      // Here or on another device: how much is left, the server knows.
      if (frame.data.user_id === myId) recount(frame.data.room_id);
      break;
  }
}

onLive(receive);

// One life per session: what belonged to the last user is gone before the next one looks.
const token = computed(() => session.value?.token ?? null);
effect(() => {
  if (token.value === null) return;
  const refresh = () => {
    if (!document.hidden) void refreshRooms();
  };
  const timer = setInterval(refresh, REFRESH_MS);
  return () => {
    clearInterval(timer);
    for (const waiting of counting.values()) clearTimeout(waiting);
    counting.clear();
    listed = new Set();
    rooms.value = new Map();
    moreRooms.value = false;
    roomsState.value = "loading";
  };
});
// Fetched at once for a quick first look, and again whenever news begin: what came between is in it.
effect(() => {
  const signedIn = token.value !== null;
  void resyncs.value;
  if (signedIn) untracked(() => void refreshRooms());
});
