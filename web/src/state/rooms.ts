// The rooms of the signed-in user, kept up to date by the notifications socket and by a look now and then (unread
// counts come by no socket).

import { computed, effect, signal, untracked } from "@preact/signals";
import { ApiError } from "../api/client";
import { Socket } from "../api/socket";
import type { NotificationFrame, Room } from "../api/types";
import { nextPage } from "./messages";
import { api, checkSession, session } from "./session";
import { report } from "./toasts";

const PAGE_SIZE = 50;
const REFRESH_MS = 30_000;

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

export function putRoom(room: Room, isListed = true): void {
  if (isListed) listed.add(room.id);
  rooms.value = new Map(rooms.peek()).set(room.id, room);
}

export function dropRoom(id: number): void {
  listed.delete(id);
  const rest = new Map(rooms.peek());
  rest.delete(id);
  rooms.value = rest;
}

export function markRoomRead(id: number): void {
  const room = rooms.peek().get(id);
  if (room !== undefined && room.unread_count > 0) putRoom({ ...room, unread_count: 0 }, listed.has(id));
}

/** The room as it is now; 404 and 403 take it off the list. */
export async function fetchRoom(id: number): Promise<Room | null> {
  try {
    const room = await api.room(id);
    putRoom(room, listed.has(id));
    return room;
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 403)) throw error;
    dropRoom(id);
    return null;
  }
}

export async function loadMoreRooms(): Promise<void> {
  if (loading || !moreRooms.peek()) return;
  const token = session.peek()?.token;
  loading = true;
  try {
    const page = await api.rooms(nextPage(listed.size, PAGE_SIZE), PAGE_SIZE);
    if (session.peek()?.token !== token) return;
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
  const byAddress = [...rooms.peek().values()].filter((room) => !listed.has(room.id));
  listed = new Set(found.map((room) => room.id));
  rooms.value = new Map([...byAddress, ...found].map((room) => [room.id, room]));
  moreRooms.value = more;
  roomsState.value = "ready";
}

function onNotification(frame: NotificationFrame): void {
  if (frame.type === "room_added") {
    putRoom(frame.room);
  } else if (frame.type === "room_presence_update") {
    const room = rooms.peek().get(frame.room_id);
    if (room === undefined) return;
    putRoom({ ...room, active_call_participants: frame.active_participants }, listed.has(room.id));
  }
}

// One life per session: what belonged to the last user is gone before the next one looks.
const token = computed(() => session.value?.token ?? null);
effect(() => {
  const current = token.value;
  if (current === null) return;
  const refresh = () => {
    if (!document.hidden) void refreshRooms();
  };
  const socket = untracked(() => {
    void refreshRooms();
    return new Socket<NotificationFrame>("/ws/notifications/", current, {
      // Whatever was added while the line was down.
      onOpen: refresh,
      onFrame: onNotification,
      onForbidden: checkSession,
    });
  });
  const timer = setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
  return () => {
    socket.close();
    clearInterval(timer);
    document.removeEventListener("visibilitychange", refresh);
    listed = new Set();
    rooms.value = new Map();
    moreRooms.value = false;
    roomsState.value = "loading";
  };
});
