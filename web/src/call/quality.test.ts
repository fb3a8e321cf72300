// Holds: the more there are, the less is sent to each; a bad link goes down soon and up late; saving is for both sides.
import { describe, expect, it } from "vitest";
import { cameraCap, LinkJudge, screenCap, voiceBitrate } from "./quality";

const calm = { saving: false, down: 0 };
const good = { lossOut: 0, available: null };
const bad = { lossOut: 0.2, available: null };

describe("what is sent", () => {
  it("falls with the number of people, and all together stays within a home's upload", () => {
    let last = Number.POSITIVE_INFINITY;
    for (const others of [1, 2, 3, 4, 5, 8]) {
      const { maxBitrate } = cameraCap({ ...calm, others });
      expect(maxBitrate).toBeLessThanOrEqual(last);
      expect(maxBitrate * others).toBeLessThanOrEqual(2_100_000);
      last = maxBitrate;
    }
    expect(cameraCap({ ...calm, others: 0 }).height).toBe(720);
  });

  it("is little where somebody saves", () => {
    expect(cameraCap({ others: 1, saving: true, down: 0 }).maxBitrate).toBeLessThanOrEqual(250_000);
    expect(screenCap({ others: 1, saving: true, down: 0 }).maxFramerate).toBe(5);
    expect(voiceBitrate(true)).toBeLessThan(voiceBitrate(false));
  });

  it("never ends, however far the link asks to go down", () => {
    expect(cameraCap({ others: 5, saving: true, down: 9 })).toEqual(
      cameraCap({ others: 5, saving: false, down: 4 }),
    );
    expect(screenCap({ others: 9, saving: false, down: 4 }).maxBitrate).toBeGreaterThanOrEqual(300_000);
  });

  it("keeps the lines of a screen", () => {
    expect(screenCap({ others: 4, saving: false, down: 3 }).height).toBe(0);
  });
});

describe("a link", () => {
  const cap = cameraCap({ ...calm, others: 1 });

  it("goes down after two bad readings and up after many good ones", () => {
    const judge = new LinkJudge();
    judge.observe(bad, cap);
    expect(judge.down).toBe(0);
    judge.observe(bad, cap);
    expect(judge.down).toBe(1);
    for (let reading = 0; reading < 7; reading++) judge.observe(good, cap);
    expect(judge.down).toBe(1);
    judge.observe(good, cap);
    expect(judge.down).toBe(0);
  });

  it("goes down where the browser sees too little room", () => {
    const judge = new LinkJudge();
    for (let reading = 0; reading < 4; reading++) judge.observe({ lossOut: null, available: 300_000 }, cap);
    expect(judge.down).toBe(2);
  });

  it("is not judged by what is in between", () => {
    const judge = new LinkJudge();
    for (let reading = 0; reading < 20; reading++) judge.observe({ lossOut: 0.05, available: null }, cap);
    expect(judge.down).toBe(0);
  });
});
