// What one connection sends: the local tracks, each by a sender that stays for good, and what these are held to.

import type { Tracks } from "./local";
import type { Cap } from "./quality";

export interface Streams {
  /** Microphone and camera are announced in this one. */
  main: MediaStream;
  /** A shared screen and its sound in this one. */
  screen: MediaStream;
}

export interface Caps {
  camera: Cap;
  screen: Cap;
  /** Bits per second. */
  voice: number;
}

const KINDS = ["audio", "video", "screen", "screenAudio"] as const;
type SenderKind = (typeof KINDS)[number];

export class Senders {
  private readonly byKind: Partial<Record<SenderKind, RTCRtpSender>> = {};
  /** What each sender was last held to, as text. */
  private readonly held = new Map<RTCRtpSender, string>();
  private holding: Promise<void> = Promise.resolve();

  constructor(
    private readonly pc: RTCPeerConnection,
    private readonly streams: Streams,
  ) {}

  /** Brings what is sent in line with the local tracks. */
  async apply(tracks: Tracks): Promise<void> {
    for (const kind of KINDS) {
      const sender = this.byKind[kind];
      const track = tracks[kind];
      if (sender !== undefined) {
        if (sender.track !== track) await sender.replaceTrack(track);
      } else if (track !== null && this.pc.signalingState !== "closed") {
        const stream = kind === "audio" || kind === "video" ? this.streams.main : this.streams.screen;
        this.byKind[kind] = this.pc.addTrack(track, stream);
      }
    }
  }

  /** Holds what is sent to these bounds; one change after the other, as parameters are good for one change alone. */
  hold(caps: Caps): Promise<void> {
    this.holding = this.holding.then(() => this.holdNow(caps)).catch(() => {});
    return this.holding;
  }

  private async holdNow({ camera, screen, voice }: Caps): Promise<void> {
    const { audio, video, screen: shared } = this.byKind;
    // Where there is too little room, speech comes first, then what is shown, and the camera last.
    if (audio !== undefined) await this.set(audio, { maxBitrate: voice, priority: "high" });
    if (video !== undefined) await this.set(video, { ...encodingOf(camera, video.track), priority: "low" });
    if (shared !== undefined) {
      const encoding = encodingOf(screen, shared.track);
      await this.set(shared, { ...encoding, priority: "medium" }, "maintain-resolution");
    }
  }

  private async set(
    sender: RTCRtpSender,
    wanted: Partial<RTCRtpEncodingParameters>,
    degradation?: RTCDegradationPreference,
  ): Promise<void> {
    const text = JSON.stringify(wanted);
    if (this.held.get(sender) === text) return;
    const parameters = sender.getParameters();
    const [encoding] = parameters.encodings ?? [];
    // Before the first negotiation there is nothing to hold.
    if (encoding === undefined) return;
    Object.assign(encoding, wanted);
    if (degradation !== undefined) parameters.degradationPreference = degradation;
    await sender.setParameters(parameters);
    this.held.set(sender, text);
  }
}

function encodingOf(cap: Cap, track: MediaStreamTrack | null): Partial<RTCRtpEncodingParameters> {
  const { width = 0, height = 0 } = track?.getSettings() ?? {};
  // A phone held upright takes its pictures upright.
  const lines = Math.min(width, height);
  const scale = cap.height === 0 || lines === 0 ? 1 : Math.max(1, lines / cap.height);
  return {
    maxBitrate: Math.round(cap.maxBitrate),
    maxFramerate: cap.maxFramerate,
    scaleResolutionDownBy: scale,
  };
}
