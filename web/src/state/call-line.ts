// The way of a call to the server: its frames among all others of the one connection.

import { signal } from "@preact/signals";
import type { CallFrame, LiveFrame } from "../api/types";
import type { Line } from "../call/engine";
import { connected, onLive, probeLive, sendLive } from "./live";

const KINDS: readonly CallFrame["type"][] = [
  "call_state",
  "user_joined",
  "user_left",
  "offer",
  "answer",
  "ice_candidate",
  "request_mic",
  "error",
];

export function openLine(
  roomId: number,
  handlers: { onOpen: () => void; onFrame: (frame: CallFrame) => void; onForbidden: () => void },
): Line {
  /** Whether the server has let us in since the connection was made. */
  let isIn = false;
  let closed = false;
  const open = signal(false);
  const stopLive = onLive((frame: LiveFrame | CallFrame) => {
    const { data } = frame as { data?: { room_id?: number } };
    if (data?.room_id !== roomId) return;
    if (frame.type === "room_removed") return handlers.onForbidden();
    if (!KINDS.includes(frame.type as CallFrame["type"])) return;
    if (frame.type === "call_state") isIn = true;
    if (frame.type === "error" && frame.code === "permission_denied" && !isIn) handlers.onForbidden();
    else handlers.onFrame(frame as CallFrame);
  });
  const stopConnected = connected.subscribe((now) => {
    open.value = now;
    if (!now) isIn = false;
    // Whoever opens the line has it in hand before the first frame.
    else queueMicrotask(() => !closed && handlers.onOpen());
  });
  return {
    connected: open,
    send: (type, data = {}) => sendLive(type, { ...data, room_id: roomId }),
    probe: probeLive,
    close: () => {
      closed = true;
      stopLive();
      stopConnected();
    },
  };
}
