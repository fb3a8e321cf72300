// What a user has chosen for calls on this device, kept across reloads: devices, switches, how loud each person is.

import { signal } from "@preact/signals";

export interface Choices {
  /** Device ids; "": whatever the system prefers. */
  microphone: string;
  camera: string;
  speaker: string;
  withMicrophone: boolean;
  withCamera: boolean;
  noiseSuppression: boolean;
  pushToTalk: boolean;
  saver: boolean;
  /** From 0 to 1, by user id; who is not named is heard in full. */
  volumes: Readonly<Record<number, number>>;
}

const STORED = "moznods.calls";
const USUAL: Choices = {
  microphone: "",
  camera: "",
  speaker: "",
  withMicrophone: true,
  withCamera: false,
  noiseSuppression: true,
  pushToTalk: false,
  saver: false,
  volumes: {},
};

export const choices = signal<Choices>(parseChoices(localStorage.getItem(STORED)));

/** What was stored, as far as it is what it should be. */
export function parseChoices(text: string | null): Choices {
  let stored: unknown;
  try {
    stored = JSON.parse(text ?? "null");
  } catch {
    return USUAL;
  }
  if (typeof stored !== "object" || stored === null) return USUAL;
  const found: Record<string, unknown> = { ...USUAL };
  for (const [key, value] of Object.entries(stored)) {
    if (key !== "volumes" && typeof value === typeof found[key]) found[key] = value;
  }
  const { volumes } = stored as { volumes?: unknown };
  const loud = typeof volumes === "object" && volumes !== null ? Object.entries(volumes) : [];
  found.volumes = Object.fromEntries(
    loud.filter(([, volume]) => typeof volume === "number" && volume >= 0 && volume <= 1),
  );
  return found as unknown as Choices;
}

export function choose(part: Partial<Choices>): void {
  choices.value = { ...choices.peek(), ...part };
  localStorage.setItem(STORED, JSON.stringify(choices.peek()));
}

export const volumeOf = (id: number): number => choices.value.volumes[id] ?? 1;

export function setVolume(id: number, volume: number): void {
  choose({ volumes: { ...choices.peek().volumes, [id]: volume } });
}
