// A call as the screens see it: a list of the others with their streams, and one's own side. That media goes from
// each to each (a mesh) is known here and in the files that only this one uses.

import { batch, computed, type ReadonlySignal, signal } from "@preact/signals";
import type { CallFrame, TurnCredentials } from "../api/types";
import { choices } from "./choices";
import type { LocalMedia } from "./local";
import { watchNetwork } from "./network";
import { Peer } from "./peer";
import type { Streams } from "./senders";
import { SpeakerWatch } from "./speakers";
import type { Link, Quality } from "./stats";
import type { MediaState } from "./told";

export interface RemoteParticipant {
  id: number;
  username: string;
  stream: MediaStream | null;
  /** A shared screen, with its sound if there is any. */
  screen: MediaStream | null;
  audio: boolean;
  video: boolean;
  hand: boolean;
  link: Link;
  /** `null` until it is known. */
  quality: Quality | null;
}

export type EndReason = "left" | "forbidden" | "taken_over" | "no_relay_credentials";

/** The way to the server, which comes back by itself when it is lost. */
export interface Line {
  readonly connected: ReadonlySignal<boolean>;
  send: (type: string, data?: object) => boolean;
  /** Finds out soon whether the line still holds. */
  probe: () => void;
  close: () => void;
}

export interface CallOptions {
  myId: number;
  media: LocalMedia;
  openLine: (handlers: {
    onOpen: () => void;
    onFrame: (frame: CallFrame) => void;
    onForbidden: () => void;
  }) => Line;
  /** Fails after so many seconds; when none are said, it is patient. */
  credentials: (timeoutSeconds?: number) => Promise<TurnCredentials>;
  onHand: (username: string) => void;
  onEnd: (reason: EndReason) => void;
}

const TICK_MS = 2_000;
/**
 * Of one try to get new credentials. Another is made at each tick, as one may hang on a connection that is dead: a browser
 * keeps six to a server, each try that hangs takes one, and together they leave some to others.
 */
const RENEW_TIMEOUT_SECONDS = 8;
/** The server says that someone left, yet nobody said good-bye: so long they have to come back on a new line. */
const RETURN_MS = 20_000;
/** When no media flows either. */
const RETURN_LOST_MS = 6_000;

interface Member {
  username: string;
  peer: Peer;
  hand: boolean;
  /** When the server said that they left, in `Date.now()` milliseconds; 0: they have not. */
  leftAt: number;
}

export class Call {
  readonly participants = signal<readonly RemoteParticipant[]>([]);
  readonly state = signal<"joining" | "joined" | "reconnecting" | "ended">("joining");
  /** Whose voice is heard now, oneself included. */
  readonly speaking: ReadonlySignal<ReadonlySet<number>>;
  readonly hand = signal(false);
  /** Whether somebody else has ever been there. */
  readonly met = signal(false);
  /** Who has asked one to speak. */
  readonly askedBy = signal<string | null>(null);
  readonly media: LocalMedia;

  private readonly members = new Map<number, Member>();
  private readonly streams: Streams = { main: new MediaStream(), screen: new MediaStream() };
  private readonly speakers: SpeakerWatch;
  private line: Line | null = null;
  private iceServers: RTCIceServer[] = [];
  /** When to ask for new credentials, at half of their life, in `Date.now()` milliseconds. */
  private renewAt = 0;
  private ticker: ReturnType<typeof setInterval> | undefined;
  /** The network is another one: what was agreed on leads nowhere. */
  private moved = false;
  private readonly stops: (() => void)[] = [];

  constructor(private readonly options: CallOptions) {
    this.media = options.media;
    this.speakers = new SpeakerWatch(() => this.levels());
    this.speaking = this.speakers.speaking;
  }

  async start(): Promise<void> {
    const { media } = this;
    try {
      this.useCredentials(await this.options.credentials());
    } catch {
      this.end("no_relay_credentials");
      return;
    }
    if (this.ended) return;
    media.onChange = () => this.applyTracks();
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.line = this.options.openLine({
      onOpen: () => this.line?.send("join_call"),
      onFrame: (frame) => this.receive(frame),
      onForbidden: () => this.end("forbidden"),
    });
    // Whoever closes the page leaves, and is not waited for.
    const leave = (event: PageTransitionEvent) => {
      if (!event.persisted) this.leave();
    };
    window.addEventListener("pagehide", leave);
    this.stops.push(
      () => window.removeEventListener("pagehide", leave),
      this.line.connected.subscribe((connected) => {
        if (!connected && this.state.peek() === "joined") this.state.value = "reconnecting";
      }),
      watchNetwork(() => this.networkChanged()),
      computed(() => choices.value.saver).subscribe(() => this.applyTracks()),
    );
  }

  leave(): void {
    this.line?.send("leave_call");
    this.end("left");
  }

  raiseHand(up: boolean): void {
    this.hand.value = up;
    this.announce();
  }

  /** Asks a participant to speak, which the server lets the owner of the room do. */
  askToSpeak(id: number): boolean {
    return this.line?.send("request_mic", { target_user_id: id }) ?? false;
  }

  private get ended(): boolean {
    return this.state.peek() === "ended";
  }

  private applyTracks(): void {
    this.announce();
    for (const { peer } of this.members.values()) void peer.applyTracks();
  }

  private announce(): void {
    for (const { peer } of this.members.values()) peer.sendMediaState();
  }

  private mediaState(): MediaState {
    const { media } = this;
    return {
      audio: media.tracks.audio !== null && media.speaking,
      video: media.video.peek() === "on",
      screen: media.screen.peek() !== null,
      screenStream: this.streams.screen.id,
      hand: this.hand.peek(),
      saver: choices.peek().saver,
    };
  }

  private levels(): Map<number, number> {
    const levels = new Map<number, number>();
    const { meter, speaking } = this.media;
    levels.set(this.options.myId, speaking ? (meter.peek()?.effective() ?? 0) : 0);
    for (const [id, { peer }] of this.members) levels.set(id, peer.level());
    return levels;
  }

  private receive(frame: CallFrame): void {
    if (this.ended) return;
    switch (frame.type) {
      case "call_state":
        this.sync(frame.data.participants);
        break;
      case "user_joined":
        this.joined(frame.data.user.id, frame.data.user.username);
        break;
      case "user_left":
        this.left(frame.data.user_id);
        break;
      case "offer":
      case "answer": {
        const { from_user_id: id, from_username: username, sdp } = frame.data;
        this.signalled(id, username, { type: frame.type, sdp });
        break;
      }
      case "ice_candidate": {
        const { from_user_id: id, from_username: username, candidate } = frame.data;
        this.signalled(id, username, { type: frame.type, candidate });
        break;
      }
      case "request_mic":
        if (!this.media.speaking) this.askedBy.value = frame.data.from_username;
        break;
      case "error":
        if (frame.code === "call_taken_over") this.end("taken_over");
        break;
    }
  }

  /** The server's word on who is in the call. */
  private sync(list: Extract<CallFrame, { type: "call_state" }>["data"]["participants"]): void {
    const active = new Map(
      list.filter((entry) => entry.state === "active").map((entry) => [entry.user_id, entry]),
    );
    if (!active.has(this.options.myId)) return;
    const returned = this.state.peek() === "reconnecting";
    batch(() => {
      this.state.value = "joined";
      for (const [id, { username }] of active) {
        if (id === this.options.myId) continue;
        const known = this.members.get(id);
        if (known === undefined) this.add(id, username);
        else {
          known.leftAt = 0;
          // What either side said while our line was down is lost.
          if (returned) known.peer.resync();
        }
      }
      for (const id of this.members.keys()) if (!active.has(id)) this.left(id);
    });
    if (this.moved) this.lookForNewWays();
  }

  private joined(id: number, username: string): void {
    if (id === this.options.myId) return;
    const known = this.members.get(id);
    if (known === undefined) this.add(id, username);
    else {
      known.leftAt = 0;
      known.peer.resync();
    }
  }

  private left(id: number): void {
    const member = this.members.get(id);
    if (member === undefined || member.leftAt !== 0) return;
    // A line to the server that broke ends no conversation; one that really ends says so itself.
    if (member.peer.attached) member.leftAt = Date.now();
    else this.remove(id);
  }

  private signalled(id: number, username: string, message: Parameters<Peer["receive"]>[0]): void {
    if (id === this.options.myId) return;
    const member = this.members.get(id) ?? this.add(id, username);
    member.peer.receive(message).catch((error) => console.warn("signal refused", error));
  }

  private add(id: number, username: string): Member {
    const peer = new Peer({
      polite: this.options.myId < id,
      createConnection: () =>
        new RTCPeerConnection({ iceServers: this.iceServers, bundlePolicy: "max-bundle" }),
      send: (message) => {
        if (message.type === "ice_candidate") {
          this.line?.send(message.type, { target_user_id: id, candidate: message.candidate });
        } else this.line?.send(message.type, { target_user_id: id, sdp: message.sdp });
      },
      onChange: () => this.publish(),
      onGone: () => this.gone(id, peer),
      tracks: () => this.media.tracks,
      streams: this.streams,
      mediaState: () => this.mediaState(),
      others: () => this.members.size,
    });
    const member: Member = { username, peer, hand: false, leftAt: 0 };
    this.members.set(id, member);
    this.met.value = true;
    this.publish();
    return member;
  }

  /** The other end closed. If it begins anew (a reloaded page), its offer brings it back. */
  private gone(id: number, peer: Peer): void {
    if (this.members.get(id)?.peer === peer) this.remove(id);
  }

  private remove(id: number): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    member.peer.close();
    this.members.delete(id);
    this.publish();
  }

  private publish(): void {
    this.participants.value = [...this.members].map(([id, { username, peer }]) => {
      const { audio, video, screen, hand } = peer.remoteState;
      return {
        id,
        username,
        stream: peer.received.main,
        screen: screen ? peer.received.screen : null,
        audio,
        video,
        hand,
        link: peer.link,
        quality: peer.quality,
      };
    });
    for (const member of this.members.values()) {
      const { hand } = member.peer.remoteState;
      if (hand && !member.hand) this.options.onHand(member.username);
      member.hand = hand;
    }
  }

  private tick(): void {
    const now = Date.now();
    let lost = false;
    for (const [id, { peer, leftAt }] of [...this.members]) {
      if (leftAt !== 0 && now - leftAt > (peer.connected ? RETURN_MS : RETURN_LOST_MS)) this.remove(id);
      else peer.tick(now).catch(() => {});
      lost ||= peer.link === "lost";
    }
    // Where media is lost the line may be as well, and not know it yet.
    if (lost) this.line?.probe();
    if (now > this.renewAt) this.renewCredentials().catch(() => {});
  }

  /** One try of as many as it takes. */
  private async renewCredentials(): Promise<void> {
    const { iceServers } = this;
    const fresh = await this.options.credentials(RENEW_TIMEOUT_SECONDS);
    // Another try may have been answered before.
    if (this.iceServers === iceServers && !this.ended) this.useCredentials(fresh);
  }

  private useCredentials({ iceServers, ttl }: TurnCredentials): void {
    this.iceServers = iceServers;
    this.renewAt = Date.now() + (ttl * 1000) / 2;
    for (const { peer } of this.members.values()) peer.setIceServers(iceServers);
  }

  private networkChanged(): void {
    this.moved = true;
    this.line?.probe();
    if (this.state.peek() === "joined") this.lookForNewWays();
  }

  private lookForNewWays(): void {
    this.moved = false;
    for (const { peer } of this.members.values()) peer.restart();
  }

  private end(reason: EndReason): void {
    if (this.ended) return;
    this.state.value = "ended";
    clearInterval(this.ticker);
    for (const stop of this.stops) stop();
    this.speakers.close();
    for (const id of [...this.members.keys()]) this.remove(id);
    this.media.close();
    this.line?.close();
    this.options.onEnd(reason);
  }
}
