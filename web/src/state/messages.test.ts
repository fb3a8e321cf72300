// Holds: messages stand in order and once, whichever way they came, and a sent one is never shown twice.
import { describe, expect, it } from "vitest";
import type { Message } from "../api/types";
import {
  acknowledge,
  addPending,
  EMPTY,
  failPending,
  merge,
  newestId,
  nextPage,
  removePending,
  type Timeline,
} from "./messages";

const ME = 1;
const OTHER = 2;

function message(id: number, content = `text ${id}`, author = OTHER): Message {
  const user = { id: author, username: `user${author}`, display_name: "", avatar_url: "" };
  return { id, room: 7, author: user, content, created_at: "2026-01-01T00:00:00.000000Z" };
}

const ids = (timeline: Timeline) => timeline.messages.map((entry) => entry.id);

describe("merge", () => {
  it("orders by id and keeps each once", () => {
    const live = merge(EMPTY, [message(12)], ME);
    const page = merge(live, [message(12), message(11), message(10)], ME);
    expect(ids(page)).toEqual([10, 11, 12]);
    expect(ids(merge(page, [message(9), message(10)], ME))).toEqual([9, 10, 11, 12]);
    expect(newestId(page)).toBe(12);
    expect(newestId(EMPTY)).toBe(0);
  });

  it("lets an own message that comes in take the place of the one being sent", () => {
    const sending = addPending(merge(EMPTY, [message(10)], ME), 1, "hello");
    const arrived = merge(sending, [message(11, "hello", ME)], ME);
    expect(arrived.pending).toEqual([]);
    expect(ids(arrived)).toEqual([10, 11]);
  });

  it("does not take an older or a stranger's message of the same words for it", () => {
    const before = merge(EMPTY, [message(10)], ME);
    const sending = addPending(before, 1, "hello");
    expect(merge(sending, [message(11, "hello", OTHER)], ME).pending).toHaveLength(1);
    expect(merge(sending, [message(9, "hello", ME)], ME).pending).toHaveLength(1);
  });

  it("settles one of two equal messages at a time", () => {
    const two = addPending(addPending(EMPTY, 1, "hi"), 2, "hi");
    const one = merge(two, [message(1, "hi", ME)], ME);
    expect(one.pending.map((entry) => entry.key)).toEqual([2]);
    // The same message again (history after the socket) settles nothing more.
    expect(merge(one, [message(1, "hi", ME)], ME).pending.map((entry) => entry.key)).toEqual([2]);
  });
});

describe("acknowledge", () => {
  it("replaces the pending message, whether or not the socket was faster", () => {
    const sending = addPending(EMPTY, 1, "hello");
    const stored = message(5, "hello", ME);
    const first = acknowledge(sending, 1, stored, ME);
    expect([ids(first), first.pending]).toEqual([[5], []]);
    const late = acknowledge(merge(sending, [stored], ME), 1, stored, ME);
    expect([ids(late), late.pending]).toEqual([[5], []]);
  });

  it("does not touch an equal message that is still on its way", () => {
    const two = addPending(addPending(EMPTY, 1, "hi"), 2, "hi");
    const stored = message(5, "hi", ME);
    expect(acknowledge(two, 2, stored, ME).pending.map((entry) => entry.key)).toEqual([1]);
    const raced = acknowledge(merge(two, [stored], ME), 1, stored, ME);
    expect(raced.pending.map((entry) => entry.key)).toEqual([2]);
  });
});

describe("pending", () => {
  it("can fail and be discarded", () => {
    const failed = failPending(addPending(EMPTY, 1, "x"), 1);
    expect(failed.pending[0]?.failed).toBe(true);
    expect(removePending(failed, 1).pending).toEqual([]);
  });
});

describe("nextPage", () => {
  it("names the page with the next older message, also when new ones have shifted the pages", () => {
    expect([0, 1, 49, 50, 51, 99, 100].map((loaded) => nextPage(loaded, 50))).toEqual([1, 1, 1, 2, 2, 2, 3]);
  });
});
