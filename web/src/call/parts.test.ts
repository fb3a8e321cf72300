// Holds the small parts of a call: what peers tell each other, what is remembered, where tiles stand, who speaks.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

vi.hoisted(() => {
  (globalThis as { localStorage?: unknown }).localStorage = { getItem: () => null, setItem: () => {} };
});

import { parseChoices } from "./choices";
import { bestColumns, startOf } from "./layout";
import { SpeakerWatch } from "./speakers";
import { parseTold, UNTOLD } from "./told";

describe("what is told", () => {
  it("by an older client leaves the rest as it was", () => {
    const before = { ...UNTOLD, hand: true };
    expect(parseTold('{"audio":false,"video":true}', before)).toEqual({
      ...before,
      audio: false,
      video: true,
    });
  });

  it("is taken only where it has the right type", () => {
    const told = parseTold('{"audio":true,"video":true,"hand":"yes","screen":1,"more":{}}', UNTOLD);
    expect(told).toEqual({ ...UNTOLD, video: true });
    for (const text of ["", "1", "null", "[]", '{"audio":1,"video":true}', '{"hand":true}']) {
      expect(parseTold(text, UNTOLD), text).toBeNull();
    }
    expect(parseTold('{"bye":true}', UNTOLD)).toBe("bye");
  });
});

describe("choices", () => {
  const usual = parseChoices(null);
  it("that make no sense are as if never made", () => {
    for (const text of ["", "{", "[]", "7", '{"microphone":7,"saver":"yes","volumes":[3]}']) {
      expect(parseChoices(text), text).toEqual(usual);
    }
  });

  it("are read back, volumes within their bounds", () => {
    const text = '{"camera":"abc","pushToTalk":true,"volumes":{"7":0.5,"8":9,"9":"x"}}';
    expect(parseChoices(text)).toEqual({ ...usual, camera: "abc", pushToTalk: true, volumes: { 7: 0.5 } });
  });
});

describe("tiles", () => {
  it("stand where they are largest", () => {
    const wide = [1, 2, 3, 4, 5, 9].map((count) => bestColumns(1280, 720, count));
    expect(wide).toEqual([1, 2, 2, 2, 3, 3]);
    const narrow = [1, 2, 3, 4, 5].map((count) => bestColumns(344, 560, count));
    expect(narrow).toEqual([1, 1, 1, 2, 2]);
    expect(bestColumns(0, 0, 3)).toBe(1);
  });

  it("of a last row stand in its middle", () => {
    expect([0, 1, 2, 3, 4].map((index) => startOf(index, 5, 3))).toEqual([1, 3, 5, 2, 4]);
    expect([0, 1, 2].map((index) => startOf(index, 3, 2))).toEqual([1, 3, 2]);
  });
});

describe("who speaks", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 0 }));
  afterEach(() => void vi.useRealTimers());

  it("does so still in a short pause, and no more after a long one", () => {
    let levels = new Map([
      [1, 0.2],
      [2, 0.001],
    ]);
    const watch = new SpeakerWatch(() => levels);
    vi.advanceTimersByTime(200);
    expect([...watch.speaking.peek()]).toEqual([1]);
    levels = new Map([[1, 0]]);
    vi.advanceTimersByTime(400);
    expect([...watch.speaking.peek()]).toEqual([1]);
    vi.advanceTimersByTime(600);
    expect([...watch.speaking.peek()]).toEqual([]);
    watch.close();
  });
});
