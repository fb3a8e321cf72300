// One's own side of a call: microphone, camera and shared screen, before a call and in it. Where they are sent to is
// left to the engine.

import { batch, signal } from "@preact/signals";
import { choices, choose } from "./choices";
import { Meter } from "./level";
import { captureScreen, type Kind, type MediaProblem, openDevice } from "./media";

/** `none`: there is no such device in this call (`problems` says why), though one may try again. */
export type DeviceState = "on" | "off" | "none";

export interface Tracks {
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
  screen: MediaStreamTrack | null;
  screenAudio: MediaStreamTrack | null;
}

export class LocalMedia {
  readonly audio = signal<DeviceState>("off");
  readonly video = signal<DeviceState>("off");
  readonly problems = signal<Readonly<Record<Kind, MediaProblem | null>>>({ audio: null, video: null });
  /** What one's own tile shows. */
  readonly picture = signal<MediaStream | null>(null);
  readonly screen = signal<MediaStream | null>(null);
  readonly meter = signal<Meter | null>(null);
  readonly tracks: Tracks = { audio: null, video: null, screen: null, screenAudio: null };
  /** Something that is sent, or told of, has changed. */
  onChange: () => void = () => {};
  onProblem: (kind: Kind, problem: MediaProblem) => void = () => {};
  private readonly opening = new Set<Kind>();
  private closed = false;
  private held = false;

  async start(video: boolean): Promise<void> {
    choose({ withCamera: video });
    if (choices.peek().withMicrophone) await this.enable("audio");
    if (video && !this.closed) await this.enable("video");
  }

  async toggleAudio(): Promise<void> {
    if (this.audio.peek() === "on") {
      choose({ withMicrophone: false });
      this.audio.value = "off";
      this.gate();
      return;
    }
    choose({ withMicrophone: true });
    // The microphone stays open when it is off, so that speaking again is instant.
    if (this.tracks.audio === null) return this.enable("audio");
    this.audio.value = "on";
    this.gate();
  }

  async toggleVideo(): Promise<void> {
    const on = this.video.peek() === "on";
    choose({ withCamera: !on });
    if (!on) return this.enable("video");
    // The camera is let go, so that its lamp goes out.
    this.release("video", "off");
    this.onChange();
  }

  /** Opens the device that is chosen now in place of the one that is open. */
  async reopen(kind: Kind): Promise<void> {
    const state = this[kind].peek();
    if (this.tracks[kind] === null) {
      if (state === "none") await this.enable(kind);
      return;
    }
    // Some browsers keep the settings of a device as long as anybody has it open.
    this.release(kind, state);
    await this.enable(kind, state);
  }

  /** With push-to-talk: whether the key is down. */
  hold(down: boolean): void {
    this.held = down;
    this.gate();
  }

  /** Whether what one says is heard. */
  get speaking(): boolean {
    return this.audio.peek() === "on" && (!choices.peek().pushToTalk || this.held);
  }

  /** Lets through what the microphone takes up, or nothing. */
  gate(): void {
    const { audio } = this.tracks;
    if (audio !== null) audio.enabled = this.speaking;
    this.onChange();
  }

  async shareScreen(): Promise<void> {
    if (this.screen.peek() !== null) return this.stopScreen();
    const stream = await captureScreen();
    if (stream === null) return;
    const [picture] = stream.getVideoTracks();
    if (this.closed || picture === undefined) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    // Letters are to stay sharp, though fewer pictures come.
    picture.contentHint = "detail";
    // The browser's own button ends it.
    picture.onended = () => this.stopScreen();
    this.tracks.screen = picture;
    this.tracks.screenAudio = stream.getAudioTracks()[0] ?? null;
    this.screen.value = new MediaStream([picture]);
    this.onChange();
  }

  stopScreen(): void {
    for (const kind of ["screen", "screenAudio"] as const) {
      const track = this.tracks[kind];
      if (track !== null) {
        track.onended = null;
        track.stop();
      }
      this.tracks[kind] = null;
    }
    if (this.screen.peek() === null) return;
    this.screen.value = null;
    this.onChange();
  }

  close(): void {
    this.closed = true;
    this.onChange = () => {};
    this.release("audio", "off");
    this.release("video", "off");
    this.stopScreen();
  }

  private async enable(kind: Kind, state: DeviceState = "on"): Promise<void> {
    if (this.opening.has(kind)) return;
    this.opening.add(kind);
    const { microphone, camera, noiseSuppression } = choices.peek();
    const deviceId = kind === "audio" ? microphone : camera;
    const { track, problem } = await openDevice(kind, { deviceId, noiseSuppression });
    this.opening.delete(kind);
    if (this.closed) return track?.stop();
    batch(() => {
      this.problems.value = { ...this.problems.peek(), [kind]: problem };
      if (track === null) this[kind].value = "none";
      else this.take(kind, track, state);
    });
    if (problem !== null) this.onProblem(kind, problem);
    this.gate();
  }

  private take(kind: Kind, track: MediaStreamTrack, state: DeviceState): void {
    // Unplugged: another one takes its place, if there is one.
    track.onended = () => {
      this.release(kind, "none");
      void this.enable(kind, state);
    };
    this.tracks[kind] = track;
    this[kind].value = state;
    if (kind === "video") this.picture.value = new MediaStream([track]);
    else this.meter.value = new Meter(track);
  }

  private release(kind: Kind, state: DeviceState): void {
    const track = this.tracks[kind];
    if (track !== null) {
      track.onended = null;
      track.stop();
    }
    this.tracks[kind] = null;
    this[kind].value = state;
    if (kind === "video") this.picture.value = null;
    else {
      this.meter.peek()?.close();
      this.meter.value = null;
    }
  }
}
