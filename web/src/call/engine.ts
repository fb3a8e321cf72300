// A call as the screens see it: a list of the others with their streams, and one's own microphone and camera. That
// media goes from each to each (a mesh) is known here and in `peer.ts` alone.

import { batch, signal } from "@preact/signals";
import type { Socket } from "../api/socket";
import type { CallFrame, TurnCredentials } from "../api/types";
import { type MediaProblem, openDevice } from "./media";
import { type MediaState, Peer, type Tracks } from "./peer";
import type { Link } from "./stats";

export interface RemoteParticipant {
  id: number;
  username: string;
  stream: MediaStream | null;
  audio: boolean;
  video: boolean;
  link: Link;
}

/** `none`: there is no such device in this call (`problem` says why), though one may try again. */
export type DeviceState = "on" | "off" | "none";

export type EndReason = "left" | "forbidden" | "taken_over" | "no_relay_credentials";

export interface CallOptions {
  myId: number;
  video: boolean;
  openSocket: (handlers: {
    onOpen: () => void;
    onFrame: (frame: CallFrame) => void;
    onForbidden: () => void;
  }) => Socket<CallFrame>;
  credentials: () => Promise<TurnCredentials>;
  onProblem: (kind: "audio" | "video", problem: MediaProblem) => void;
  onEnd: (reason: EndReason) => void;
}

const TICK_MS = 2_000;
const RENEW_RETRY_MS = 30_000;
/** The server says that someone left, yet media flows: so long they have to come back on a new line. */
const RETURN_MS = 20_000;

interface Member {
  username: string;
  peer: Peer;
  leaving: ReturnType<typeof setTimeout> | undefined;
}

export class Call {
  readonly participants = signal<readonly RemoteParticipant[]>([]);
  readonly audio = signal<DeviceState>("none");
  readonly video = signal<DeviceState>("none");
  /** What one's own tile shows. */
  readonly localVideo = signal<MediaStream | null>(null);
  readonly state = signal<"joining" | "joined" | "reconnecting" | "ended">("joining");

  private readonly members = new Map<number, Member>();
  private readonly tracks: Tracks = { audio: null, video: null };
  private readonly stream = new MediaStream();
  private socket: Socket<CallFrame> | null = null;
  private iceServers: RTCIceServer[] = [];
  /** When to ask for new credentials, at half of their life, in `Date.now()` milliseconds. */
  private renewAt = 0;
  private ticker: ReturnType<typeof setInterval> | undefined;
  private switching = new Set<"audio" | "video">();

  constructor(private readonly options: CallOptions) {}

  async start(): Promise<void> {
    await this.enable("audio");
    if (this.options.video) await this.enable("video");
    if (this.ended) return this.stopTracks();
    try {
      await this.renewCredentials();
    } catch {
      this.end("no_relay_credentials");
      return;
    }
    if (this.ended) return;
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.socket = this.options.openSocket({
      onOpen: () => this.socket?.send("join_call"),
      onFrame: (frame) => this.receive(frame),
      onForbidden: () => this.end("forbidden"),
    });
    this.socket.connected.subscribe((connected) => {
      if (!connected && this.state.peek() === "joined") this.state.value = "reconnecting";
    });
  }

  leave(): void {
    this.socket?.send("leave_call");
    this.end("left");
  }

  async toggleAudio(): Promise<void> {
    const { audio } = this.tracks;
    if (audio === null) return this.enable("audio");
    // The microphone stays open, so that speaking again is instant.
    audio.enabled = !audio.enabled;
    this.audio.value = audio.enabled ? "on" : "off";
    this.announce();
  }

  async toggleVideo(): Promise<void> {
    if (this.tracks.video === null) return this.enable("video");
    // The camera is let go, so that its lamp goes out.
    this.release("video", "off");
    await this.applyTracks();
  }

  private get ended(): boolean {
    return this.state.peek() === "ended";
  }

  private async enable(kind: "audio" | "video"): Promise<void> {
    if (this.switching.has(kind)) return;
    this.switching.add(kind);
    const { track, problem } = await openDevice(kind);
    this.switching.delete(kind);
    if (problem !== null && !this.ended) this.options.onProblem(kind, problem);
    if (track === null) return;
    if (this.ended) return track.stop();
    track.onended = () => {
      this.release(kind, "none");
      this.options.onProblem(kind, "missing");
      void this.applyTracks();
    };
    this.tracks[kind] = track;
    if (kind === "video") this.localVideo.value = new MediaStream([track]);
    this[kind].value = "on";
    await this.applyTracks();
  }

  private release(kind: "audio" | "video", state: DeviceState): void {
    const track = this.tracks[kind];
    if (track !== null) {
      track.onended = null;
      track.stop();
    }
    this.tracks[kind] = null;
    if (kind === "video") this.localVideo.value = null;
    this[kind].value = state;
  }

  private async applyTracks(): Promise<void> {
    this.announce();
    await Promise.all([...this.members.values()].map(({ peer }) => peer.applyTracks()));
  }

  private announce(): void {
    for (const { peer } of this.members.values()) peer.sendMediaState();
  }

  private mediaState(): MediaState {
    return { audio: this.audio.peek() === "on", video: this.video.peek() === "on" };
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
          this.stay(known);
          // What either side said while our line was down is lost.
          if (returned) known.peer.resync();
        }
      }
      for (const id of this.members.keys()) if (!active.has(id)) this.left(id);
    });
  }

  private joined(id: number, username: string): void {
    if (id === this.options.myId) return;
    const known = this.members.get(id);
    if (known === undefined) this.add(id, username);
    else {
      this.stay(known);
      known.peer.resync();
    }
  }

  private left(id: number): void {
    const member = this.members.get(id);
    if (member === undefined || member.leaving !== undefined) return;
    // A line to the server that broke ends no conversation; one that really ends says so itself.
    if (member.peer.attached) member.leaving = setTimeout(() => this.remove(id), RETURN_MS);
    else this.remove(id);
  }

  private stay(member: Member): void {
    clearTimeout(member.leaving);
    member.leaving = undefined;
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
          this.socket?.send(message.type, { target_user_id: id, candidate: message.candidate });
        } else this.socket?.send(message.type, { target_user_id: id, sdp: message.sdp });
      },
      onChange: () => this.publish(),
      onGone: () => this.gone(id, peer),
      tracks: () => this.tracks,
      stream: this.stream,
      mediaState: () => this.mediaState(),
    });
    const member: Member = { username, peer, leaving: undefined };
    this.members.set(id, member);
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
    this.stay(member);
    member.peer.close();
    this.members.delete(id);
    this.publish();
  }

  private publish(): void {
    this.participants.value = [...this.members].map(([id, { username, peer }]) => ({
      id,
      username,
      stream: peer.remoteStream,
      ...peer.remoteState,
      link: peer.link,
    }));
  }

  private tick(): void {
    const now = Date.now();
    for (const { peer } of this.members.values()) peer.tick(now).catch(() => {});
    if (now > this.renewAt) this.renewCredentials().catch(() => {});
  }

  private async renewCredentials(): Promise<void> {
    // Also the next try, should this one fail.
    this.renewAt = Date.now() + RENEW_RETRY_MS;
    const { iceServers, ttl } = await this.options.credentials();
    this.iceServers = iceServers;
    this.renewAt = Date.now() + (ttl * 1000) / 2;
    for (const { peer } of this.members.values()) peer.setIceServers(iceServers);
  }

  private stopTracks(): void {
    this.release("audio", "none");
    this.release("video", "none");
  }

  private end(reason: EndReason): void {
    if (this.ended) return;
    this.state.value = "ended";
    clearInterval(this.ticker);
    for (const id of [...this.members.keys()]) this.remove(id);
    this.stopTracks();
    this.socket?.close();
    this.options.onEnd(reason);
  }
}
