// One other participant over one RTCPeerConnection: perfect negotiation (W3C WebRTC, "Perfect negotiation
// example"), ICE restarts, and a small data channel that tells whether microphone and camera are on. Who is in
// the call and how signals travel is left to the engine.

import type { Signal } from "../api/types";
import { type Link, readLink } from "./stats";

export interface Tracks {
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
}

export interface MediaState {
  audio: boolean;
  video: boolean;
}

export interface PeerOptions {
  /** Yields when both sides offer at once. */
  polite: boolean;
  createConnection: () => RTCPeerConnection;
  send: (signal: Signal) => void;
  /** Something that a screen shows has changed. */
  onChange: () => void;
  /** The other side said good-bye or closed its end. */
  onGone: () => void;
  /** Local tracks and the stream they are announced in. */
  tracks: () => Tracks;
  stream: MediaStream;
  mediaState: () => MediaState;
}

/** The polite side lets the other offer first: one negotiation instead of a collision. */
const HEAD_START_MS = 1_000;
/** Without a connection for so long, negotiation begins again. */
const STALLED_MS = 12_000;

/** The session id of an SDP's `o=` line: another id is another RTCPeerConnection (RFC 8829 §5.2.1). */
export function sdpSession(sdp: string | undefined): string | null {
  return /^o=\S+ (\S+)/m.exec(sdp ?? "")?.[1] ?? null;
}

export class Peer {
  /** What the other side sends; `null` until it sends something. */
  remoteStream: MediaStream | null = null;
  link: Link = "connecting";
  remoteState: MediaState = { audio: true, video: false };
  private pc!: RTCPeerConnection;
  private channel!: RTCDataChannel;
  private senders: { audio: RTCRtpSender | null; video: RTCRtpSender | null } = { audio: null, video: null };
  private makingOffer = false;
  private ignoreOffer = false;
  private settingRemoteAnswer = false;
  private remoteSession: string | null = null;
  private headStart: ReturnType<typeof setTimeout> | undefined;
  private progressAt = 0;
  private wasConnected = false;

  constructor(private readonly options: PeerOptions) {
    this.open();
  }

  get connected(): boolean {
    return this.pc.connectionState === "connected";
  }

  /** Whether the other side can still be heard to leave, beside what the server says. */
  get attached(): boolean {
    return this.connected && this.channel.readyState === "open";
  }

  async receive(signal: Signal): Promise<void> {
    if (signal.type === "ice_candidate") return this.receiveCandidate(signal.candidate);
    const description = normalise(signal);
    const session = sdpSession(description.sdp);
    if (this.remoteSession !== null && session !== this.remoteSession) {
      // The other side has begun anew (a reloaded page). Its answer was to the connection we give up here.
      this.reopen();
      if (description.type === "answer") return;
    }
    const pc = this.pc;
    if (description.type === "answer" && pc.signalingState !== "have-local-offer") return;

    const ready = !this.makingOffer && (pc.signalingState === "stable" || this.settingRemoteAnswer);
    const collision = description.type === "offer" && !ready;
    this.ignoreOffer = !this.options.polite && collision;
    if (this.ignoreOffer) return;

    this.settingRemoteAnswer = description.type === "answer";
    try {
      await pc.setRemoteDescription(description);
    } finally {
      this.settingRemoteAnswer = false;
    }
    if (pc !== this.pc) return;
    this.remoteSession = session;
    if (description.type === "offer") {
      await pc.setLocalDescription();
      this.sendDescription(pc);
    }
  }

  /** Sends what may have been lost while one of the two had no line to the server. */
  resync(): void {
    if (this.connected) return;
    if (this.pc.signalingState === "have-local-offer") this.sendDescription(this.pc);
    else this.pc.restartIce();
  }

  /** Brings what is sent in line with the local tracks. */
  async applyTracks(): Promise<void> {
    const pc = this.pc;
    const tracks = this.options.tracks();
    for (const kind of ["audio", "video"] as const) {
      const sender = this.senders[kind];
      const track = tracks[kind];
      if (sender !== null) await sender.replaceTrack(track);
      else if (track !== null && pc === this.pc) this.senders[kind] = pc.addTrack(track, this.options.stream);
    }
  }

  sendMediaState(): void {
    this.say(this.options.mediaState());
  }

  setIceServers(iceServers: RTCIceServer[]): void {
    this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers });
  }

  /** Called every few seconds: how media travels, and whether negotiation has come to a halt. */
  async tick(now: number): Promise<void> {
    const pc = this.pc;
    if (this.connected) {
      this.progressAt = now;
      const link = await readLink(pc);
      if (pc === this.pc && link !== null && this.connected) this.setLink(link);
    } else if (now - this.progressAt > STALLED_MS) {
      this.progressAt = now;
      this.resync();
    }
  }

  close(): void {
    this.say({ bye: true });
    this.shut();
  }

  private open(): void {
    const pc = this.options.createConnection();
    this.pc = pc;
    this.senders = { audio: null, video: null };
    this.remoteSession = null;
    this.remoteStream = null;
    this.remoteState = { audio: true, video: false };
    this.makingOffer = false;
    this.ignoreOffer = false;
    this.progressAt = Date.now();
    this.wasConnected = false;
    this.link = "connecting";

    pc.onnegotiationneeded = () => {
      if (this.options.polite && pc.remoteDescription === null) {
        clearTimeout(this.headStart);
        this.headStart = setTimeout(() => {
          if (pc === this.pc && pc.remoteDescription === null) void this.offer(pc);
        }, HEAD_START_MS);
      } else {
        void this.offer(pc);
      }
    };
    pc.onicecandidate = ({ candidate }) => {
      if (candidate !== null) this.options.send({ type: "ice_candidate", candidate: candidate.toJSON() });
    };
    pc.onconnectionstatechange = () => this.connectionChanged();
    pc.ontrack = ({ track }) => {
      this.remoteStream ??= new MediaStream();
      this.remoteStream.addTrack(track);
      // A client without our channel tells of its camera by sending.
      track.onunmute = () => {
        if (track.kind === "video" && pc === this.pc && this.channel.readyState !== "open") {
          this.setRemoteState({ ...this.remoteState, video: true });
        }
      };
      this.options.onChange();
    };

    // Agreed on beforehand: a client that does not know it sees nothing of it.
    const channel = pc.createDataChannel("state", { negotiated: true, id: 0 });
    this.channel = channel;
    channel.onopen = () => this.sendMediaState();
    channel.onmessage = ({ data }) => {
      if (pc === this.pc) this.hear(data);
    };
    channel.onclose = () => {
      if (pc === this.pc) this.options.onGone();
    };
    void this.applyTracks();
  }

  private reopen(): void {
    this.shut();
    this.open();
    this.options.onChange();
  }

  private shut(): void {
    clearTimeout(this.headStart);
    const { pc, channel } = this;
    channel.onopen = channel.onmessage = channel.onclose = null;
    pc.onnegotiationneeded = pc.onicecandidate = pc.onconnectionstatechange = pc.ontrack = null;
    pc.close();
  }

  private async offer(pc: RTCPeerConnection): Promise<void> {
    try {
      this.makingOffer = true;
      await pc.setLocalDescription();
      if (pc === this.pc) this.sendDescription(pc);
    } catch (error) {
      // Closed meanwhile, or overtaken by the other side's offer; the latter raises the need again.
      if (pc === this.pc) console.warn("offer failed", error);
    } finally {
      if (pc === this.pc) this.makingOffer = false;
    }
  }

  private sendDescription(pc: RTCPeerConnection): void {
    const description = pc.localDescription;
    if (description?.type !== "offer" && description?.type !== "answer") return;
    this.options.send({ type: description.type, sdp: { type: description.type, sdp: description.sdp } });
  }

  private async receiveCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    const pc = this.pc;
    try {
      // The browser lets it wait for the description before it, if that is just being applied.
      await pc.addIceCandidate(candidate);
    } catch (error) {
      // One that belongs to an offer we ignored or never saw is of no use.
      if (!this.ignoreOffer && pc.remoteDescription !== null && pc === this.pc) {
        console.warn("candidate refused", error);
      }
    }
  }

  private connectionChanged(): void {
    const state = this.pc.connectionState;
    if (state === "connected") {
      this.wasConnected = true;
      void this.tick(Date.now());
    } else if (state === "failed") {
      this.setLink("lost");
      this.resync();
    } else if (state === "disconnected") {
      this.setLink("lost");
    } else if (state === "connecting" && !this.wasConnected) {
      this.setLink("connecting");
    }
  }

  private setLink(link: Link): void {
    if (link === this.link) return;
    this.link = link;
    this.options.onChange();
  }

  private setRemoteState(state: MediaState): void {
    this.remoteState = state;
    this.options.onChange();
  }

  private say(message: MediaState | { bye: true }): void {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(message));
  }

  private hear(data: unknown): void {
    let message: { audio?: unknown; video?: unknown; bye?: unknown } | null;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    if (message?.bye === true) this.options.onGone();
    else if (typeof message?.audio === "boolean" && typeof message.video === "boolean") {
      this.setRemoteState({ audio: message.audio, video: message.video });
    }
  }
}

/** Clients send `sdp` as text or as a whole description. */
function normalise(signal: Extract<Signal, { type: "offer" | "answer" }>): RTCSessionDescriptionInit {
  const sdp = typeof signal.sdp === "string" ? signal.sdp : signal.sdp.sdp;
  return sdp === undefined ? { type: signal.type } : { type: signal.type, sdp };
}
