// One other participant over one RTCPeerConnection: perfect negotiation (W3C WebRTC, "Perfect negotiation
// example"), ICE restarts, and a small data channel that tells what is on and whose hand is up (`told.ts`). Who is in
// the call and how signals travel is left to the engine.

import type { Description, Signal } from "../api/types";
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
/**
 * A pair that has never been connected begins anew, with another RTCPeerConnection, at each time of so many: late, as a
 * machine that is slow would lose all that it has come to.
 */
const STALLS_BEFORE_ANEW = 4;
/** A connection that was lost comes back by itself, or new ways are looked for. The polite side waits for the other. */
const LOST_MS = { impolite: 2_500, polite: 5_000 };

/** The session id of an SDP's `o=` line: another id is another RTCPeerConnection (RFC 8829 §5.2.1). */
export function sdpSession(sdp: string | undefined): string | null {
  return /^o=\S+ (\S+)/m.exec(sdp ?? "")?.[1] ?? null;
}

/** An offer by its `o=` line: each that a connection makes has a version of its own. */
function originOf(sdp: string | undefined): string | undefined {
  return /^o=\S+ (\S+ \S+)/m.exec(sdp ?? "")?.[1];
}

const ufragsOf = (sdp: string | undefined): string[] =>
  [...(sdp ?? "").matchAll(/^a=ice-ufrag:(\S+)/gm)].flatMap(([, ufrag]) => ufrag ?? []);

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
  private offersHeard = 0;
  private remoteSession: string | null = null;
  private headStart: ReturnType<typeof setTimeout> | undefined;
  private lost: ReturnType<typeof setTimeout> | undefined;
  private progressAt = 0;
  private stalls = 0;
  private wasConnected = false;
  /** What was gathered with credentials that others have taken the place of. */
  private readonly outdated = new Set<string>();

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
    if (description.type === "answer" && !this.isAwaited(description)) return;

    const ready = !this.makingOffer && (pc.signalingState === "stable" || this.settingRemoteAnswer);
    const collision = description.type === "offer" && !ready;
    this.ignoreOffer = !this.options.polite && collision;
    if (this.ignoreOffer) return;

    this.progressAt = Date.now();
    if (description.type === "offer") this.offersHeard++;
    const heard = this.offersHeard;
    this.settingRemoteAnswer = description.type === "answer";
    try {
      await pc.setRemoteDescription(description);
    } finally {
      if (pc === this.pc) this.settingRemoteAnswer = false;
    }
    if (pc !== this.pc) return;
    this.remoteSession = session;
    this.progressAt = Date.now();
    // An offer that was repeated is answered once: another call would make an offer of our own.
    if (description.type === "offer" && heard === this.offersHeard) {
      await pc.setLocalDescription();
      this.sendDescription(pc, originOf(description.sdp));
    }
  }

  /** Sends what may have been lost while one of the two had no line to the server. */
  resync(): void {
    if (this.isUnanswered) this.sendDescription(this.pc);
    else if (!this.isSettled) this.pc.restartIce();
  }

  /** Looks for new ways, while media goes on by the old ones as long as they hold (RFC 8445 §9). */
  restart(): void {
    // An offer that is under way may be lost; once it is answered, the browser makes the one of the restart.
    if (this.isUnanswered) this.sendDescription(this.pc);
    this.pc.restartIce();
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
    const { pc } = this;
    // Firefox before 119 cannot; there the call goes on as long as the relay lets it.
    if (pc.setConfiguration === undefined) return;
    for (const description of [pc.currentLocalDescription, pc.pendingLocalDescription])
      for (const ufrag of ufragsOf(description?.sdp)) this.outdated.add(ufrag);
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
    if (!this.connected || this.quality === null || this.quality.relayProtocol !== null) this.restart();
  }

  /** Called every few seconds: how media travels, and whether negotiation has come to a halt. */
  async tick(now: number): Promise<void> {
    if (this.connected) await this.observe();
    if (this.isSettled) {
      this.progressAt = now;
      this.stalls = 0;
    } else if (now - this.progressAt > this.patience) {
      this.progressAt = now;
      this.stalls++;
      if (!this.wasConnected && this.stalls % STALLS_BEFORE_ANEW === 0) this.reopen();
      else this.resync();
    }
  }

  private async observe(): Promise<void> {
    const pc = this.pc;
    const quality = await this.reader.read();
    if (pc !== this.pc || quality === null || !this.connected) return;
    const { others, mediaState } = this.options;
    const saving = mediaState().saver || this.remoteState.saver;
    this.judge.observe(quality, cameraCap({ others: others(), saving, down: this.judge.down }));
    this.quality = quality;
    this.link = quality.way;
    this.options.onChange();
    await this.applyTracks();
  }

  private get isUnanswered(): boolean {
    return this.pc.signalingState === "have-local-offer";
  }

  /** Whether nothing is left to be done: media flows, by a way that does not end with credentials of before. */
  private get isSettled(): boolean {
    const { quality } = this;
    const isOutdated =
      quality !== null && quality.relayProtocol !== null && this.outdated.has(quality.ufrag ?? "");
    return this.connected && !this.isUnanswered && !isOutdated;
  }

  /** Whether an answer is to the offer that is under way, as far as it says: one that was repeated has several answers. */
  private isAwaited({ to }: Description): boolean {
    return this.isUnanswered && (to === undefined || to === originOf(this.pc.localDescription?.sdp));
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
    this.settingRemoteAnswer = false;
    this.offersHeard = 0;
    this.outdated.clear();
    this.progressAt = Date.now();
    this.wasConnected = false;
    this.link = "connecting";

    pc.oniceconnectionstatechange = () => {
      this.progressAt = Date.now();
    };
    pc.onnegotiationneeded = () => {
      if (this.options.polite && pc.remoteDescription === null) {
        clearTimeout(this.headStart);
        this.headStart = setTimeout(() => {
          if (pc === this.pc && this.offersHeard === 0) void this.offer(pc);
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
    pc.oniceconnectionstatechange =
      pc.onnegotiationneeded =
      pc.onicecandidate =
      pc.onconnectionstatechange =
      pc.ontrack =
        null;
    pc.close();
  }

  private async offer(pc: RTCPeerConnection): Promise<void> {
    try {
      this.makingOffer = true;
      await pc.setLocalDescription();
      if (pc !== this.pc) return;
      this.progressAt = Date.now();
      this.sendDescription(pc);
    } catch (error) {
      // Closed meanwhile, or overtaken by the other side's offer; the latter raises the need again.
      if (pc === this.pc) console.warn("offer failed", error);
    } finally {
      if (pc === this.pc) this.makingOffer = false;
    }
  }

  private sendDescription(pc: RTCPeerConnection, to?: string): void {
    const description = pc.localDescription;
    if (description?.type !== "offer" && description?.type !== "answer") return;
    const { type, sdp } = description;
    this.options.send({
      type,
      sdp: type === "answer" && to !== undefined ? { type, sdp, to } : { type, sdp },
    });
  }

  private async receiveCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    const pc = this.pc;
    try {
      // The browser lets it wait for the description before it, if that is just being applied.
      await pc.addIceCandidate(candidate);
      if (pc === this.pc) this.progressAt = Date.now();
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
function normalise({ type, sdp }: Extract<Signal, { type: "offer" | "answer" }>): Description {
  return typeof sdp === "string" ? { type, sdp } : { ...sdp, type };
}
