// The one call that this page is in, or is about to enter: begins and ends it, and says in words what went wrong.

import { effect, signal, untracked } from "@preact/signals";
import { choices } from "../call/choices";
import { Call, type EndReason } from "../call/engine";
import { LocalMedia } from "../call/local";
import type { Kind, MediaProblem } from "../call/media";
import { type Key, t } from "../i18n";
import { openLine } from "./call-line";
import { fetchRoom } from "./rooms";
import { api, checkSession, session } from "./session";
import { report, toast } from "./toasts";

export interface CurrentCall {
  roomId: number;
  call: Call;
}

export const currentCall = signal<CurrentCall | null>(null);
/** A call that one looks at before entering it. */
export const preparing = signal<{ roomId: number; media: LocalMedia } | null>(null);
/** Who does not come to the call that one is in. */
export const declinedBy = signal<string | null>(null);

export const PROBLEMS: Record<MediaProblem, Record<Kind, Key>> = {
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

/** Shows what the others will see and hear, before they do; with the camera as it was the last time, if nothing is said. */
export function startCall(roomId: number, video = choices.peek().withCamera): void {
  cancelCall();
  const media = new LocalMedia();
  preparing.value = { roomId, media };
  media.start(video).catch(report);
}

export function cancelCall(): void {
  preparing.peek()?.media.close();
  preparing.value = null;
}

/** Enters the call that was looked at. */
export function joinCall(): void {
  const prepared = preparing.peek();
  preparing.value = null;
  if (prepared !== null) enterCall(prepared.roomId, prepared.media);
}

export function enterCall(roomId: number, media: LocalMedia): void {
  const current = session.peek();
  if (current === null) {
    media.close();
    return;
  }
  leaveCall();
  declinedBy.value = null;
  const call = new Call({
    myId: current.user.id,
    media,
    openLine: (handlers) => openLine(roomId, handlers),
    credentials: api.turnCredentials,
    onHand: (username) => toast(t("hand_raised", { name: username })),
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
  media.onProblem = (kind, problem) => toast(t(PROBLEMS[problem][kind]), "error");
  currentCall.value = { roomId, call };
  call.start().catch(report);
}

export function leaveCall(): void {
  currentCall.peek()?.call.leave();
}

effect(() => {
  if (session.value !== null) return;
  untracked(cancelCall);
  untracked(leaveCall);
});
