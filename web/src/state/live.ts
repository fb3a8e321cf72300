// The one connection to the server: all rooms, all news. After a lost line it says up to where it knows, and is told the
// rest, each once; where the server no longer knows that, everybody fetches anew (`resyncs`).

import { batch, computed, effect, signal, untracked } from "@preact/signals";
import { Socket } from "../api/socket";
import type { LiveFrame } from "../api/types";
import { checkSession, session } from "./session";

/** Whether news come in now. */
export const connected = signal(false);
/** Grows whenever what is known may be older than what news begin with: all is to be fetched again. 0: not yet. */
export const resyncs = signal(0);

type Listener = (frame: LiveFrame) => void;
const listeners = new Set<Listener>();
let socket: Socket<LiveFrame> | null = null;

/** Tells `listener` all frames until the returned function is called. */
export function onLive(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Sends, or says that it could not. */
export function sendLive(type: string, data: object): boolean {
  return connected.peek() && (socket?.send(type, data) ?? false);
}

/** Somebody has reason to believe that the connection is dead. */
export function probeLive(): void {
  socket?.probe();
}

const token = computed(() => session.value?.token ?? null);
effect(() => {
  const current = token.value;
  if (current === null) return;
  /** The newest event that has been told; 0: begin with what comes. */
  let last = 0;

  function receive(frame: LiveFrame & { event_id?: number }): void {
    if (frame.event_id !== undefined) last = Math.max(last, frame.event_id);
    if (frame.type === "hello" || frame.type === "resync") {
      const anew = frame.type === "resync" || last === 0;
      if (anew) last = frame.data.last_event_id;
      // News wait at the server until the client has said something.
      socket?.send("ping");
      batch(() => {
        connected.value = true;
        if (anew) resyncs.value++;
      });
    }
    for (const listener of listeners) listener(frame);
  }

  const opened = untracked(
    () =>
      new Socket<LiveFrame>(() => (last > 0 ? `/ws/?last_event_id=${last}` : "/ws/"), current, {
        onFrame: receive,
        onForbidden: checkSession,
      }),
  );
  socket = opened;
  const stop = opened.connected.subscribe((open) => {
    if (!open) connected.value = false;
  });
  return () => {
    stop();
    opened.close();
    socket = null;
    connected.value = false;
    resyncs.value = 0;
  };
});
