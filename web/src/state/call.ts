// The one call that this page is in, if any: begins and ends it, and says in words what went wrong.

import { effect, signal, untracked } from "@preact/signals";
import { Socket } from "../api/socket";
import { Call, type EndReason } from "../call/engine";
import type { MediaProblem } from "../call/media";
import { type Key, t } from "../i18n";
import { fetchRoom } from "./rooms";
import { api, checkSession, session } from "./session";
import { report, toast } from "./toasts";

export interface CurrentCall {
  roomId: number;
  call: Call;
}

export const currentCall = signal<CurrentCall | null>(null);

const PROBLEMS: Record<MediaProblem, { audio: Key; video: Key }> = {
  insecure: { audio: "media_insecure", video: "media_insecure" },
  denied: { audio: "mic_denied", video: "camera_denied" },
  missing: { audio: "mic_missing", video: "camera_missing" },
  busy: { audio: "mic_busy", video: "camera_busy" },
  unknown: { audio: "mic_unknown", video: "camera_unknown" },
};

const ENDINGS: Partial<Record<EndReason, Key>> = {
  forbidden: "call_forbidden",
  taken_over: "call_taken_over",
  no_relay_credentials: "call_no_credentials",
};

export function startCall(roomId: number, video: boolean): void {
  const current = session.peek();
  if (current === null) return;
  leaveCall();
  const call = new Call({
    myId: current.user.id,
    video,
    openSocket: (handlers) => new Socket(`/ws/call/${roomId}/`, current.token, handlers),
    credentials: api.turnCredentials,
    onProblem: (kind, problem) => toast(t(PROBLEMS[problem][kind]), "error"),
    onEnd: (reason) => {
      if (currentCall.peek()?.call === call) currentCall.value = null;
      const ending = ENDINGS[reason];
      if (ending !== undefined) toast(t(ending), reason === "taken_over" ? "info" : "error");
      if (reason === "forbidden") {
        checkSession();
        fetchRoom(roomId).catch(report);
      }
    },
  });
  currentCall.value = { roomId, call };
  call.start().catch(report);
}

export function leaveCall(): void {
  currentCall.peek()?.call.leave();
}

effect(() => {
  if (session.value === null) untracked(leaveCall);
});
