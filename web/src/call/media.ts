// Microphone and camera: asking for them, and why they may be refused, in words that the catalogue knows.

export type MediaProblem = "insecure" | "denied" | "missing" | "busy" | "unknown";

export interface Opened {
  track: MediaStreamTrack | null;
  /** Why there is no track. */
  problem: MediaProblem | null;
}

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

const WANTED = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
} as const;

export async function openDevice(kind: "audio" | "video"): Promise<Opened> {
  // Browsers hide the devices from pages that came over plain HTTP.
  if (navigator.mediaDevices === undefined) return { track: null, problem: "insecure" };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ [kind]: WANTED[kind] });
    return { track: stream.getTracks()[0] ?? null, problem: null };
  } catch (error) {
    return { track: null, problem: problemOf(error) };
  }
}
