// What two ends of a connection tell each other beside the media, over a data channel: what is on, and whose hand is
// up. A client that does not know the channel sees nothing of it.

export interface MediaState {
  audio: boolean;
  video: boolean;
  screen: boolean;
  /** Id of the stream in which a screen comes, also before one is shared. */
  screenStream: string;
  hand: boolean;
  /** Asks for less to be sent. */
  saver: boolean;
}

/** As long as the other side has told nothing. */
export const UNTOLD: MediaState = {
  audio: true,
  video: false,
  screen: false,
  screenStream: "",
  hand: false,
  saver: false,
};

/** What was told; what an older client leaves out is as before. `null`: nothing that makes sense. */
export function parseTold(text: string, before: MediaState): MediaState | "bye" | null {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof message !== "object" || message === null) return null;
  const told = message as Record<string, unknown>;
  if (told.bye === true) return "bye";
  if (typeof told.audio !== "boolean" || typeof told.video !== "boolean") return null;
  const state: Record<string, unknown> = { ...before };
  for (const [key, value] of Object.entries(before)) {
    if (typeof told[key] === typeof value) state[key] = told[key];
  }
  return state as unknown as MediaState;
}
