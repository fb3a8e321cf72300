// A direct call that rings: somebody waits in the call of a direct room that this user is not in.

import { effect, signal, untracked } from "@preact/signals";
import type { Room } from "../api/types";
import { LocalMedia } from "../call/local";
import { navigate, roomPath } from "../router";
import { cancelCall, currentCall, declinedBy, enterCall } from "./call";
import { onLive } from "./live";
import { rooms } from "./rooms";
import { api, session } from "./session";
import { report } from "./toasts";

export interface Ringing {
  roomId: number;
  /** Username of the one who calls. */
  from: string;
}

export const ringing = signal<Ringing | null>(null);

/** Nobody waits for longer. */
const RING_MS = 45_000;

/** Rooms in whose calls somebody was when we last looked: only who comes anew rings. */
let waiting = new Set<number>();
let timeout: ReturnType<typeof setTimeout> | undefined;

/** Who waits in the call of a direct room for `me`; `null`: nobody, or one is there oneself, or has muted the room. */
export function callerIn(room: Room, me: string): string | null {
  const { is_direct, is_muted, active_call_participants: active } = room;
  if (!is_direct || is_muted || active.includes(me)) return null;
  return active[0] ?? null;
}

function ring(next: Ringing | null): void {
  clearTimeout(timeout);
  ringing.value = next;
  if (next !== null) timeout = setTimeout(() => ring(null), RING_MS);
}

effect(() => {
  const me = session.value?.user.username;
  const all = rooms.value;
  const current = currentCall.value;
  untracked(() => {
    if (me === undefined) {
      waiting = new Set();
      return ring(null);
    }
    const rung = ringing.peek();
    const rungRoom = rung === null ? undefined : all.get(rung.roomId);
    if (rung !== null && (rungRoom === undefined || callerIn(rungRoom, me) === null)) ring(null);
    if (rung !== null && current?.roomId === rung.roomId) ring(null);
    const now = new Set<number>();
    for (const room of all.values()) {
      if (!room.is_direct || room.active_call_participants.length === 0) continue;
      now.add(room.id);
      const from = callerIn(room, me);
      const isNew = !waiting.has(room.id) && room.id !== current?.roomId;
      if (from !== null && isNew && ringing.peek() === null) ring({ roomId: room.id, from });
    }
    waiting = now;
  });
});

onLive((frame) => {
  if (frame.type !== "call_declined") return;
  const { room_id: roomId, user_id: userId, username } = frame.data;
  // By this user, on another device.
  if (userId === session.peek()?.user.id) {
    if (ringing.peek()?.roomId === roomId) ring(null);
  } else if (currentCall.peek()?.roomId === roomId) declinedBy.value = username;
});

export function answerCall(video: boolean): void {
  const rung = ringing.peek();
  if (rung === null) return;
  ring(null);
  cancelCall();
  const media = new LocalMedia();
  enterCall(rung.roomId, media);
  media.start(video).catch(report);
  navigate(roomPath(rung.roomId));
}

export function declineCall(): void {
  const rung = ringing.peek();
  if (rung === null) return;
  ring(null);
  api.declineCall(rung.roomId).catch(report);
}
