// What has been written and is not with the server yet. It outlives a lost network and a closed page, and is sent in its
// order once there is a line; each message has an id of ours, by which the server knows it when it comes a second time.

import { computed, effect, signal, untracked } from "@preact/signals";
import { ApiError } from "../api/client";
import type { Message, Reply, StoredFile } from "../api/types";
import { connected, onLive } from "./live";
import { api, session } from "./session";
import { explain } from "./toasts";

export interface Pending {
  clientId: string;
  room: number;
  content: string;
  files: StoredFile[];
  reply: Reply | null;
  createdAt: string;
  /** What the server said against it, in the user's language; it waits for the user. */
  problem: string | null;
}

/** Oldest first. */
export const outbox = signal<readonly Pending[]>([]);

const userId = computed(() => session.value?.user.id ?? null);
const stored = (user: number): string => `moznods.outbox.${user}`;
/** Who is told of what the server has taken. */
const taken = new Set<(message: Message) => void>();
/** Rooms of which one message is on its way. */
const sending = new Set<number>();

export function onTaken(listener: (message: Message) => void): () => void {
  taken.add(listener);
  return () => taken.delete(listener);
}

function keep(entries: readonly Pending[]): void {
  outbox.value = entries;
  const user = userId.peek();
  if (user === null) return;
  if (entries.length === 0) localStorage.removeItem(stored(user));
  else localStorage.setItem(stored(user), JSON.stringify(entries));
}

function read(user: number): Pending[] {
  try {
    const value = JSON.parse(localStorage.getItem(stored(user)) ?? "[]");
    return Array.isArray(value) ? value.filter((entry) => typeof entry?.clientId === "string") : [];
  } catch {
    return [];
  }
}

/** Pages over plain HTTP have no `randomUUID`. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function post(entry: Pick<Pending, "room" | "content" | "files" | "reply">): void {
  const createdAt = new Date().toISOString();
  keep([...outbox.peek(), { ...entry, clientId: newId(), createdAt, problem: null }]);
  void flush(entry.room);
}

export function retry(clientId: string): void {
  const entry = outbox.peek().find((pending) => pending.clientId === clientId);
  if (entry === undefined) return;
  keep(outbox.peek().map((pending) => (pending === entry ? { ...entry, problem: null } : pending)));
  void flush(entry.room);
}

export function discard(clientId: string): void {
  keep(outbox.peek().filter((pending) => pending.clientId !== clientId));
}

/** Sends what waits for a room, one after the other, until there is none or no line. */
async function flush(room: number): Promise<void> {
  if (sending.has(room)) return;
  sending.add(room);
  try {
    for (;;) {
      const user = userId.peek();
      const entry = outbox.peek().find((pending) => pending.room === room && pending.problem === null);
      if (entry === undefined || user === null) return;
      try {
        const message = await api.sendMessage(room, {
          content: entry.content,
          client_id: entry.clientId,
          reply_to: entry.reply?.id,
          attachment_ids: entry.files.map((file) => file.id),
        });
        if (userId.peek() !== user) return;
        settle(message);
      } catch (error) {
        if (userId.peek() !== user) return;
        const waits = !(error instanceof ApiError) || error.status === 0 || error.status >= 500;
        // The line comes back, and with it the next try; so does a session.
        if (waits || (error instanceof ApiError && error.status === 401)) return;
        const problem = explain(error);
        keep(
          outbox
            .peek()
            .map((pending) => (pending.clientId === entry.clientId ? { ...pending, problem } : pending)),
        );
      }
    }
  } finally {
    sending.delete(room);
  }
}

/** The server has it. */
function settle(message: Message): void {
  for (const listener of taken) listener(message);
  if (message.client_id !== null) discard(message.client_id);
}

function flushAll(): void {
  for (const room of new Set(outbox.peek().map((entry) => entry.room))) void flush(room);
}

onLive((frame) => {
  if (frame.type !== "chat_message" || frame.data.client_id === null) return;
  if (outbox.peek().some((entry) => entry.clientId === frame.data.client_id)) settle(frame.data);
});

effect(() => {
  const user = userId.value;
  untracked(() => {
    outbox.value = user === null ? [] : read(user);
  });
});

effect(() => {
  if (connected.value) untracked(flushAll);
});

/** A server that was too busy is asked again. */
setInterval(() => {
  if (connected.peek()) flushAll();
}, 10_000);
