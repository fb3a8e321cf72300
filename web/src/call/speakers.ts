// Who speaks now, by how loud each voice is, so that a short pause does not make the ring around it flicker.

import { type ReadonlySignal, signal } from "@preact/signals";

const LOOK_MS = 150;
/** Effective value of full scale: -40 dB, louder than a room and softer than speech. */
const LOUD = 0.01;
const HOLD_MS = 600;

export class SpeakerWatch {
  private readonly current = signal<ReadonlySet<number>>(new Set());
  private readonly heardAt = new Map<number, number>();
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(private readonly levels: () => ReadonlyMap<number, number>) {
    this.timer = setInterval(() => this.look(Date.now()), LOOK_MS);
  }

  get speaking(): ReadonlySignal<ReadonlySet<number>> {
    return this.current;
  }

  look(now: number): void {
    const levels = this.levels();
    for (const [id, level] of levels) if (level >= LOUD) this.heardAt.set(id, now);
    for (const [id, at] of this.heardAt) {
      if (now - at > HOLD_MS || !levels.has(id)) this.heardAt.delete(id);
    }
    const before = this.current.peek();
    const same = before.size === this.heardAt.size && [...before].every((id) => this.heardAt.has(id));
    if (!same) this.current.value = new Set(this.heardAt.keys());
  }

  close(): void {
    clearInterval(this.timer);
  }
}
