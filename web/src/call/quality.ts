// How much is sent to one other participant: by how many there are, by what either side wants to save, and by what
// the link carries. Everybody sends to each of the others, so what one may have falls as they become more.

import type { Quality } from "./stats";

/** What a sender is held to. */
export interface Cap {
  /** Bits per second. */
  maxBitrate: number;
  /** Lines of the picture; 0: as many as there are. */
  height: number;
  /** Pictures per second. */
  maxFramerate: number;
}

/** Of the camera, from best to least. */
const STEPS: readonly Cap[] = [
  { maxBitrate: 1_800_000, height: 720, maxFramerate: 30 },
  { maxBitrate: 900_000, height: 540, maxFramerate: 30 },
  { maxBitrate: 500_000, height: 360, maxFramerate: 25 },
  { maxBitrate: 250_000, height: 240, maxFramerate: 20 },
  { maxBitrate: 120_000, height: 180, maxFramerate: 15 },
];
const LAST = STEPS.length - 1;
const SAVING_STEP = 3;

/** All that is sent of a screen, to all together. */
const SCREEN_BITRATE = 4_000_000;
const SCREEN_LEAST = 300_000;

export interface Situation {
  /** How many others there are. */
  others: number;
  /** Either side saves data. */
  saving: boolean;
  /** Steps further down that the link asks for, as a `LinkJudge` says. */
  down: number;
}

export function cameraCap({ others, saving, down }: Situation): Cap {
  const byNumber = others <= 1 ? 0 : others === 2 ? 1 : others <= 4 ? 2 : 3;
  const first = saving ? Math.max(byNumber, SAVING_STEP) : byNumber;
  return STEPS[Math.min(LAST, first + down)] as Cap;
}

/** A screen keeps its lines, for it is to be read, and gives up pictures. */
export function screenCap({ others, saving, down }: Situation): Cap {
  const fair = SCREEN_BITRATE / Math.max(1, others);
  const bitrate = Math.max(SCREEN_LEAST, Math.min(2_000_000, fair) / 2 ** down);
  return saving
    ? { maxBitrate: SCREEN_LEAST, height: 720, maxFramerate: 5 }
    : { maxBitrate: bitrate, height: 0, maxFramerate: down > 1 ? 8 : 15 };
}

/** Bits per second of speech. */
export const voiceBitrate = (saving: boolean): number => (saving ? 16_000 : 40_000);

const MUCH_LOST = 0.08;
const LITTLE_LOST = 0.02;
/** Of what the camera may have: with less room than that a smaller picture looks better. */
const TOO_LITTLE_ROOM = 0.5;
/** Readings, of two seconds each. */
const BAD_BEFORE_DOWN = 2;
const GOOD_BEFORE_UP = 8;

/** Goes down soon and up late, so that a picture does not swing. */
export class LinkJudge {
  /** Steps down. */
  down = 0;
  private bad = 0;
  private good = 0;

  observe({ lossOut, available }: Pick<Quality, "lossOut" | "available">, cap: Cap): void {
    const loss = lossOut ?? 0;
    const room = available === null ? 1 : available / cap.maxBitrate;
    if (loss > MUCH_LOST || room < TOO_LITTLE_ROOM) {
      this.bad++;
      this.good = 0;
    } else if (loss < LITTLE_LOST) {
      this.good++;
      this.bad = 0;
    }
    if (this.bad >= BAD_BEFORE_DOWN && this.down < LAST) {
      this.down++;
      this.bad = 0;
    } else if (this.good >= GOOD_BEFORE_UP && this.down > 0) {
      this.down--;
      this.good = 0;
    }
  }
}
