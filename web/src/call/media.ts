// Microphones, cameras, speakers and screens of this device: which there are, opening them, and why they may be
// refused, in words that the catalogue knows.

import { signal } from "@preact/signals";

export type MediaProblem = "insecure" | "denied" | "missing" | "busy" | "unknown";
export type Kind = "audio" | "video";

export interface Opened {
  track: MediaStreamTrack | null;
  /** Why there is no track. */
  problem: MediaProblem | null;
}

export interface Device {
  id: string;
  /** Empty as long as the browser keeps it to itself. */
  label: string;
}

export interface Devices {
  microphones: readonly Device[];
  cameras: readonly Device[];
  /** Empty where the browser leaves the choice to the system. */
  speakers: readonly Device[];
}

export const devices = signal<Devices>({ microphones: [], cameras: [], speakers: [] });

/** Phones cannot, nor can pages that came over plain HTTP. */
export const canShareScreen = navigator.mediaDevices?.getDisplayMedia !== undefined;
/** Safari before 18.4 and Firefox before 116 leave it to the system. */
export const canChooseSpeaker = "setSinkId" in HTMLMediaElement.prototype;

/** Chromium lists these beside the devices that they stand for. */
const STAND_INS = ["default", "communications", ""];

export async function refreshDevices(): Promise<void> {
  const found = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind: MediaDeviceKind): Device[] =>
    found
      .filter((device) => device.kind === kind && !STAND_INS.includes(device.deviceId))
      .map(({ deviceId, label }) => ({ id: deviceId, label }));
  devices.value = {
    microphones: of("audioinput"),
    cameras: of("videoinput"),
    speakers: canChooseSpeaker ? of("audiooutput") : [],
  };
}

navigator.mediaDevices?.addEventListener?.("devicechange", () => void refreshDevices().catch(() => {}));

export function problemOf(error: unknown): MediaProblem {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "unknown";
  }
}

export interface Wish {
  /** "": whatever the system prefers. */
  deviceId: string;
  noiseSuppression: boolean;
}

function constraints(kind: Kind, { deviceId, noiseSuppression }: Wish): MediaTrackConstraints {
  const device = deviceId === "" ? {} : { deviceId: { exact: deviceId } };
  return kind === "audio"
    ? { ...device, echoCancellation: true, autoGainControl: true, noiseSuppression }
    : { ...device, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
}

/** Opens the device that is wished for, or another one when that is not there any more. */
export async function openDevice(kind: Kind, wish: Wish): Promise<Opened> {
  // Browsers hide the devices from pages that came over plain HTTP.
  if (navigator.mediaDevices === undefined) return { track: null, problem: "insecure" };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ [kind]: constraints(kind, wish) });
    // Names of devices are told from now on.
    void refreshDevices().catch(() => {});
    return { track: stream.getTracks()[0] ?? null, problem: null };
  } catch (error) {
    const problem = problemOf(error);
    if (problem === "missing" && wish.deviceId !== "") return openDevice(kind, { ...wish, deviceId: "" });
    return { track: null, problem };
  }
}

/** `null`: the user thought better of it, or the system forbids it. */
export async function captureScreen(): Promise<MediaStream | null> {
  try {
    return await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 15, max: 30 } },
      audio: true,
    });
  } catch (error) {
    if (problemOf(error) === "denied") return null;
    throw error;
  }
}
