// Holds: order, no doubles, the bound and what it says of both ends, and what becomes of changes.
import { describe, expect, it } from "vitest";
import type { Message, Window } from "../api/types";
import {
  appended,
  arrived,
  deleted,
  EMPTY,
  edited,
  MOST,
  prepended,
  reacted,
  readUpTo,
  replaced,
  type Timeline,
} from "./messages";

const message = (id: number, more: Partial<Message> = {}): Message => ({
  id,
  room: 1,
  author: { id: 7, username: "anna", display_name: "Anna", avatar_url: "", is_bot: false },
  content: `text ${id}`,
  attachments: [],
  created_at: "2026-01-01T00:00:00Z",
  edited_at: null,
  client_id: null,
  reply_to: null,
  reactions: [],
  mentions: [],
  mentions_all: false,
  read_by_ids: [],
  ...more,
});

/** As the server sends it: newest first. */
const window = (from: number, to: number, before = false, after = false): Window => ({
  results: Array.from({ length: to - from + 1 }, (_, index) => message(to - index)),
  has_more_before: before,
  has_more_after: after,
});

const ids = (timeline: Timeline) => timeline.messages.map(({ id }) => id);
const ends = ({ before, after }: Timeline) => ({ before, after });

describe("timeline", () => {
  it("stands in order, and takes nothing twice from either end", () => {
    let timeline = replaced(window(10, 12, true, true));
    timeline = prepended(timeline, window(8, 10));
    timeline = appended(timeline, window(12, 14));
    expect(ids(timeline)).toEqual([8, 9, 10, 11, 12, 13, 14]);
    expect(ends(timeline)).toEqual({ before: false, after: false });
  });

  it("lets go of the far end when there are too many, and says so", () => {
    const full = replaced(window(101, 100 + MOST, true));
    const up = prepended(full, window(51, 100, true));
    expect([ids(up)[0], up.messages.length]).toEqual([51, MOST]);
    expect(ends(up)).toEqual({ before: true, after: true });
    const down = appended(up, window(51 + MOST, 100 + MOST));
    expect([ids(down).at(-1), down.messages.length]).toEqual([100 + MOST, MOST]);
    expect(ends(down)).toEqual({ before: true, after: false });
  });

  it("takes in what arrives once, in order, and only at the end of the history", () => {
    const timeline = replaced(window(1, 3));
    const later = arrived(arrived(timeline, message(5), true), message(4), true);
    expect(ids(arrived(later, message(5), true))).toEqual([1, 2, 3, 4, 5]);
    const past = replaced(window(1, 3, false, true));
    expect(arrived(past, message(9), false)).toBe(past);
  });

  it("keeps what is read in its place when too much arrives", () => {
    const full = replaced(window(1, MOST));
    const seen = arrived(full, message(MOST + 1), true);
    expect([ids(seen)[0], ends(seen)]).toEqual([2, { before: true, after: false }]);
    const above = arrived(full, message(MOST + 1), false);
    expect([ids(above)[0], ids(above).at(-1), ends(above)]).toEqual([
      1,
      MOST,
      { before: false, after: true },
    ]);
  });

  it("changes and removes a message, and what is shown of it where it is answered", () => {
    const answer = message(2, { reply_to: { id: 1, author: null, excerpt: "text 1", deleted: false } });
    const timeline = { ...EMPTY, messages: [message(1), answer] };
    const after = edited(timeline, message(1, { content: "other" }));
    expect(after.messages.map((known) => known.content)).toEqual(["other", "text 2"]);
    expect(after.messages[1]?.reply_to?.excerpt).toBe("other");
    const gone = deleted(after, 1);
    expect(ids(gone)).toEqual([2]);
    expect(gone.messages[0]?.reply_to).toEqual({ id: 1, author: null, excerpt: "", deleted: true });
    expect(deleted(gone, 1)).toEqual(gone);
  });

  it("counts each reaction of a user once", () => {
    const of = (timeline: Timeline) => timeline.messages[0]?.reactions;
    const first = { ...EMPTY, messages: [message(1)] };
    const both = reacted(reacted(first, 1, "👍", 7, true), 1, "👍", 8, true);
    expect(of(reacted(both, 1, "👍", 8, true))).toEqual([{ emoji: "👍", user_ids: [7, 8] }]);
    expect(of(reacted(reacted(both, 1, "👍", 7, false), 1, "👍", 8, false))).toEqual([]);
    expect(reacted(first, 1, "👍", 7, false)).toBe(first);
  });

  it("marks all up to a message as read, each by a reader once", () => {
    const timeline = replaced(window(1, 3));
    const read = readUpTo(readUpTo(timeline, 2, 8), 2, 8);
    expect(read.messages.map((known) => known.read_by_ids)).toEqual([[8], [8], []]);
    expect(readUpTo(read, 2, 8)).toBe(read);
  });
});
