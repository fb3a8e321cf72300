// The part of a room's history that is on the screen, as pure data: in order, without doubles, without a gap, and bounded,
// so that ten thousand messages cost no more than a few hundred.

import type { Message, Window } from "../api/types";

export interface Timeline {
  /** By id, oldest first. */
  messages: readonly Message[];
  /** Whether there are older and newer ones on the server. */
  before: boolean;
  after: boolean;
}

export const EMPTY: Timeline = { messages: [], before: false, after: false };

/** Messages that are kept; beyond that, the far end is let go and fetched again when it is wanted. */
export const MOST = 300;

export const newestId = (timeline: Timeline): number => timeline.messages.at(-1)?.id ?? 0;
export const oldestId = (timeline: Timeline): number => timeline.messages[0]?.id ?? 0;

const ordered = (window: Window): Message[] => [...window.results].sort((a, b) => a.id - b.id);

/** A window of the history in place of whatever was there. */
export function replaced(window: Window): Timeline {
  return { messages: ordered(window), before: window.has_more_before, after: window.has_more_after };
}

/** What was fetched from before the oldest. */
export function prepended(timeline: Timeline, window: Window): Timeline {
  const first = oldestId(timeline);
  const older = ordered(window).filter((message) => message.id < first);
  const messages = [...older, ...timeline.messages];
  const over = messages.length > MOST;
  return {
    messages: over ? messages.slice(0, MOST) : messages,
    before: window.has_more_before,
    after: timeline.after || over,
  };
}

/** What was fetched from after the newest. */
export function appended(timeline: Timeline, window: Window): Timeline {
  const last = newestId(timeline);
  const newer = ordered(window).filter((message) => message.id > last);
  const messages = [...timeline.messages, ...newer];
  const over = messages.length > MOST;
  return {
    messages: over ? messages.slice(-MOST) : messages,
    before: timeline.before || over,
    after: window.has_more_after,
  };
}

/**
 * A message that has just been written. Where the end is not here it is left to be fetched; `atEnd`: the reader sees the
 * end, so what is let go is the oldest.
 */
export function arrived(timeline: Timeline, message: Message, atEnd: boolean): Timeline {
  if (timeline.after || timeline.messages.some((known) => known.id === message.id)) return timeline;
  // Answers and news may pass each other.
  const messages = [...timeline.messages, message].sort((a, b) => a.id - b.id);
  if (messages.length <= MOST) return { ...timeline, messages };
  if (atEnd) return { ...timeline, messages: messages.slice(-MOST), before: true };
  return { ...timeline, messages: messages.slice(0, MOST), after: true };
}

function changed(timeline: Timeline, change: (message: Message) => Message): Timeline {
  let any = false;
  const messages = timeline.messages.map((message) => {
    const now = change(message);
    any ||= now !== message;
    return now;
  });
  return any ? { ...timeline, messages } : timeline;
}

export function edited(timeline: Timeline, message: Message): Timeline {
  return changed(timeline, (known) => {
    if (known.id === message.id) return message;
    // What answers it shows how it begins.
    if (known.reply_to?.id !== message.id) return known;
    const excerpt = [...message.content].slice(0, 140).join("");
    return { ...known, reply_to: { ...known.reply_to, excerpt } };
  });
}

export function deleted(timeline: Timeline, id: number): Timeline {
  const messages = timeline.messages.filter((message) => message.id !== id);
  const rest = messages.length === timeline.messages.length ? timeline : { ...timeline, messages };
  return changed(rest, (known) =>
    known.reply_to?.id === id
      ? { ...known, reply_to: { id, author: null, excerpt: "", deleted: true } }
      : known,
  );
}

export function reacted(
  timeline: Timeline,
  id: number,
  emoji: string,
  user: number,
  added: boolean,
): Timeline {
  return changed(timeline, (message) => {
    if (message.id !== id) return message;
    const known = message.reactions.find((reaction) => reaction.emoji === emoji);
    if (added && known === undefined)
      return { ...message, reactions: [...message.reactions, { emoji, user_ids: [user] }] };
    if (known === undefined || known.user_ids.includes(user) === added) return message;
    const user_ids = added ? [...known.user_ids, user] : known.user_ids.filter((id) => id !== user);
    const reactions = message.reactions
      .map((reaction) => (reaction === known ? { emoji, user_ids } : reaction))
      .filter((reaction) => reaction.user_ids.length > 0);
    return { ...message, reactions };
  });
}

/** `user` has read everything up to message `id`. */
export function readUpTo(timeline: Timeline, id: number, user: number): Timeline {
  return changed(timeline, (message) =>
    message.id > id || message.read_by_ids.includes(user)
      ? message
      : { ...message, read_by_ids: [...message.read_by_ids, user] },
  );
}
