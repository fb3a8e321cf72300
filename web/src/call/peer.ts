// One other participant over one RTCPeerConnection: perfect negotiation (W3C WebRTC, "Perfect negotiation
// example"), ICE restarts, and a small data channel that tells what is on and whose hand is up (`told.ts`). Who is in
// the call and how signals travel is left to the engine.

import type { Signal } from "../api/types";
import type { Tracks } from "./local";
import { cameraCap, LinkJudge, screenCap, voiceBitrate } from "./quality";
import { Received } from "./received";
import { Senders, type Streams } from "./senders";
import { type Link, type Quality, QualityReader } from "./stats";
import { type MediaState, parseTold, UNTOLD } from "./told";

export interface PeerOptions {
  /** Yields when both sides offer at once. */
  polite: boolean;
  createConnection: () => RTCPeerConnection;
  send: (signal: Signal) => void;
  /** Something that a screen shows has changed. */
  onChange: () => void;
  /** The other side said good-bye or closed its end. */
  onGone: () => void;
  /** Local tracks and the streams they are announced in. */
  tracks: () => Tracks;
  streams: Streams;
  mediaState: () => MediaState;
  /** How many others there are. */
  others: () => number;
}

/** The polite side lets the other offer first: one negotiation instead of a collision. */
const HEAD_START_MS = 1_000;
/**
 * Without a connection for so long after the last step, negotiation begins again; each time it waits longer, the polite
 * side always, or on slow machines the two would for ever undo what the other has begun.
 */
const STALLED_MS = { impolite: 12_000, polite: 18_000 };
const MOST_DOUBLINGS = 2;
/** A connection that was lost comes back by itself, or new ways are looked for. The polite side waits for the other. */
const LOST_MS = { impolite: 2_500, polite: 5_000 };

/** The session id of an SDP's `o=` line: another id is another RTCPeerConnection (RFC 8829 §5.2.1). */
export function sdpSession(sdp: string | undefined): string | null {
  return /^o=\S+ (\S+)/m.exec(sdp ?? "")?.[1] ?? null;
}

export class Peer {
  received = new Received();
  link: Link = "connecting";
  quality: Quality | null = null;
  remoteState: MediaState = UNTOLD;
  private pc!: RTCPeerConnection;
  private channel!: RTCDataChannel;
  private senders!: Senders;
  private reader!: QualityReader;
  private judge!: LinkJudge;
  private makingOffer = false;
  private ignoreOffer = false;
  private settingRemoteAnswer = false;
  private remoteSession: string | null = null;
  private headStart: ReturnType<typeof setTimeout> | undefined;
  private lost: ReturnType<typeof setTimeout> | undefined;
  private progressAt = 0;
  private stalls = 0;
  private wasConnected = false;

  constructor(private readonly options: PeerOptions) {
    this.open();
  }

  get connected(): boolean {
    return this.pc.connectionState === "connected";
  }

  /** Whether the other side can still be heard to leave, beside what the server says. */
  get attached(): boolean {
    return this.channel.readyState === "open";
  }

  /** How loud the other side is, from 0 to 1. */
  level(): number {
    return this.remoteState.audio ? this.received.level(this.pc) : 0;
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
    this.progressAt = Date.now();
    if (description.type === "offer") {
      await pc.setLocalDescription();
      this.sendDescription(pc);
    }
  }

  /** Sends what may have been lost while one of the two had no line to the server. */
  resync(): void {
    if (!this.connected) this.restart();
  }

  /** Looks for new ways, while media goes on by the old ones as long as they hold (RFC 8445 §9). */
  restart(): void {
    if (this.pc.signalingState === "have-local-offer") this.sendDescription(this.pc);
    else this.pc.restartIce();
  }

  /** Brings what is sent in line with the local tracks, and holds it to what there is room for. */
  async applyTracks(): Promise<void> {
    const { senders } = this;
    await senders.apply(this.options.tracks());
    if (senders !== this.senders) return;
    const saving = this.options.mediaState().saver || this.remoteState.saver;
    const situation = { others: this.options.others(), saving, down: this.judge.down };
    await senders.hold({
      camera: cameraCap(situation),
      screen: screenCap(situation),
      voice: voiceBitrate(saving),
    });
  }

  sendMediaState(): void {
    this.say(this.options.mediaState());
  }

  /** New credentials are for new candidates alone, so what is relayed by the old ones moves to such. */
  setIceServers(iceServers: RTCIceServer[]): void {
    // Firefox before 119 cannot; there the call goes on as long as the relay lets it.
    this.pc.setConfiguration?.({ ...this.pc.getConfiguration(), iceServers });
    if (!this.connected || this.quality?.relayProtocol) this.restart();
  }

  /** Called every few seconds: how media travels, and whether negotiation has come to a halt. */
  async tick(now: number): Promise<void> {
    const pc = this.pc;
    if (this.connected) {
      this.progressAt = now;
      this.stalls = 0;
      const quality = await this.reader.read();
      if (pc !== this.pc || quality === null || !this.connected) return;
      const { others, mediaState } = this.options;
      const saving = mediaState().saver || this.remoteState.saver;
      this.judge.observe(quality, cameraCap({ others: others(), saving, down: this.judge.down }));
      this.quality = quality;
      this.link = quality.way;
      this.options.onChange();
      await this.applyTracks();
    } else if (now - this.progressAt > this.patience) {
      this.progressAt = now;
      this.stalls++;
      this.resync();
    }
  }

  private get patience(): number {
    const once = this.options.polite ? STALLED_MS.polite : STALLED_MS.impolite;
    return once * 2 ** Math.min(this.stalls, MOST_DOUBLINGS);
  }

  close(): void {
    this.say({ bye: true });
    this.shut();
  }

  private open(): void {
    const pc = this.options.createConnection();
    this.pc = pc;
    this.senders = new Senders(pc, this.options.streams);
    this.reader = new QualityReader(pc);
    this.judge = new LinkJudge();
    this.received = new Received();
    this.quality = null;
    this.remoteSession = null;
    this.remoteState = UNTOLD;
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
    pc.ontrack = ({ track, streams }) => {
      this.received.add(track, streams[0]?.id ?? "");
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
    clearTimeout(this.lost);
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
    clearTimeout(this.lost);
    if (state === "connected") {
      this.wasConnected = true;
      void this.tick(Date.now());
    } else if (state === "failed") {
      this.setLink("lost");
      this.resync();
    } else if (state === "disconnected") {
      this.setLink("lost");
      const wait = this.options.polite ? LOST_MS.polite : LOST_MS.impolite;
      this.lost = setTimeout(() => this.resync(), wait);
    } else if (state === "connecting" && !this.wasConnected) {
      this.setLink("connecting");
    }
  }

  private setLink(link: Link): void {
    if (link === this.link) return;
    this.link = link;
    this.quality = null;
    this.options.onChange();
  }

  private setRemoteState(state: MediaState): void {
    const saves = state.saver !== this.remoteState.saver;
    this.remoteState = state;
    this.received.sort(state.screenStream);
    this.options.onChange();
    if (saves) void this.applyTracks();
  }

  private say(message: MediaState | { bye: true }): void {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(message));
  }

  private hear(data: unknown): void {
    const told = parseTold(String(data), this.remoteState);
    if (told === "bye") this.options.onGone();
    else if (told !== null) this.setRemoteState(told);
  }
}

/** Clients send `sdp` as text or as a whole description. */
function normalise(signal: Extract<Signal, { type: "offer" | "answer" }>): RTCSessionDescriptionInit {
  const sdp = typeof signal.sdp === "string" ? signal.sdp : signal.sdp.sdp;
  return sdp === undefined ? { type: signal.type } : { type: signal.type, sdp };
}
