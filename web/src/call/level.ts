// How loud a track is at this moment, for meters and for the ring around one who speaks.

let shared: AudioContext | null = null;

/** One for the page: browsers allow few. It may sleep until the user has pressed something. */
export function audioContext(): AudioContext {
  shared ??= new AudioContext();
  if (shared.state !== "running") void shared.resume().catch(() => {});
  return shared;
}

/** Decibels below full scale that count as nothing. */
const FLOOR_DB = -60;

/** From an effective value of samples to 0 (nothing) … 1 (full scale), as an ear would draw it. */
export function loudness(effective: number): number {
  if (effective <= 0) return 0;
  const decibels = 20 * Math.log10(effective);
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
}

export class Meter {
  private readonly source: MediaStreamAudioSourceNode;
  private readonly analyser: AnalyserNode;
  private readonly samples: Float32Array<ArrayBuffer>;

  constructor(track: MediaStreamTrack) {
    const context = audioContext();
    this.source = context.createMediaStreamSource(new MediaStream([track]));
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = 1024;
    this.samples = new Float32Array(this.analyser.fftSize);
    this.source.connect(this.analyser);
  }

  /** Firefox measures nothing on a machine without a speaker. */
  get runs(): boolean {
    return this.source.context.state === "running";
  }

  /** From 0 to 1, as it is drawn. */
  level(): number {
    return loudness(this.effective());
  }

  /** Effective value of the last samples, from 0 to 1. */
  effective(): number {
    this.analyser.getFloatTimeDomainData(this.samples);
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    return Math.sqrt(sum / this.samples.length);
  }

  close(): void {
    this.source.disconnect();
  }
}

/** A short rising chord, to hear whether the speaker works. `sink`: a device id, "" for the system's. */
export async function playTestSound(sink: string): Promise<void> {
  const context = audioContext();
  const out = context.createMediaStreamDestination();
  const gain = context.createGain();
  gain.gain.value = 0.2;
  gain.connect(out);
  const element = new Audio();
  element.srcObject = out.stream;
  if (sink !== "") await (element as { setSinkId?: (id: string) => Promise<void> }).setSinkId?.(sink);
  await element.play();
  const last = [523.25, 659.25, 783.99].map((frequency, index) => {
    const tone = context.createOscillator();
    tone.frequency.value = frequency;
    tone.connect(gain);
    tone.start(context.currentTime + index * 0.18);
    tone.stop(context.currentTime + index * 0.18 + 0.3);
    return tone;
  })[2];
  await new Promise((resolve) => last?.addEventListener("ended", resolve));
  element.srcObject = null;
  gain.disconnect();
}
