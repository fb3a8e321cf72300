// The timeline of a room as pure data: messages in order without doubles, and own ones that are still on their way.

import type { Message } from "../api/types";

export interface Pending {
  key: number;
  content: string;
  failed: boolean;
  /** Newest message that was known when this one was sent: its own copy is younger. */
  after: number;
}

export interface Timeline {
  /** By id, oldest first, without a gap up to the newest. */
  messages: readonly Message[];
  pending: readonly Pending[];
  /** Whether the first message of the room is among them. */
  complete: boolean;
}

export const EMPTY: Timeline = { messages: [], pending: [], complete: false };

export const newestId = (timeline: Timeline): number => timeline.messages.at(-1)?.id ?? 0;

/** Adds messages from wherever they came; one of `myId` that is new takes the place of its pending self. */
export function merge(timeline: Timeline, incoming: readonly Message[], myId: number): Timeline {
  const byId = new Map(timeline.messages.map((message) => [message.id, message]));
  const fresh = incoming.filter((message) => !byId.has(message.id));
  for (const message of incoming) byId.set(message.id, message);
  let pending = timeline.pending;
  for (const message of fresh) {
    if (message.author.id === myId) pending = settle(pending, message);
  }
  return { ...timeline, messages: [...byId.values()].sort((a, b) => a.id - b.id), pending };
}

function settle(pending: readonly Pending[], message: Message): readonly Pending[] {
  const own = pending.find((entry) => entry.after < message.id && entry.content === message.content);
  return own === undefined ? pending : pending.filter((entry) => entry !== own);
}

/** The server took the pending message `key` and stored it as `message`. */
export function acknowledge(timeline: Timeline, key: number, message: Message, myId: number): Timeline {
  if (timeline.messages.some((known) => known.id === message.id)) return timeline;
  const pending = timeline.pending.filter((entry) => entry.key !== key);
  const merged = merge({ ...timeline, pending: [] }, [message], myId);
  return { ...merged, pending };
}

export function addPending(timeline: Timeline, key: number, content: string): Timeline {
  const entry: Pending = { key, content, failed: false, after: newestId(timeline) };
  return { ...timeline, pending: [...timeline.pending, entry] };
}

export function failPending(timeline: Timeline, key: number): Timeline {
  const pending = timeline.pending.map((entry) => (entry.key === key ? { ...entry, failed: true } : entry));
  return { ...timeline, pending };
}

export function removePending(timeline: Timeline, key: number): Timeline {
  return { ...timeline, pending: timeline.pending.filter((entry) => entry.key !== key) };
}

/** The page of `size` messages, newest first, in which the next older one stands. */
export const nextPage = (loaded: number, size: number): number => Math.floor(loaded / size) + 1;
