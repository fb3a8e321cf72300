// Holds: two peers that offer at once, lose signals or begin anew always come to one agreed connection.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Signal } from "../api/types";
import { Peer, type PeerOptions, sdpSession } from "./peer";
import type { Streams } from "./senders";
import { UNTOLD } from "./told";

/** The signalling half of an RTCPeerConnection: states, rollback, and a need to negotiate, as the standard has them. */
class FakeConnection {
  static sessions = 0;
  signalingState: RTCSignalingState = "stable";
  connectionState: RTCPeerConnectionState = "new";
  localDescription: RTCSessionDescriptionInit | null = null;
  readonly pendingLocalDescription = null;
  /** Names the candidates: another one after each restart. */
  ufrag = "u1";
  /** Of the candidate by which media goes, through the relay. */
  usedUfrag = "u1";
  remoteDescription: RTCSessionDescriptionInit | null = null;
  onnegotiationneeded: (() => void) | null = null;
  onconnectionstatechange: (() => void) | null = null;
  channel = { readyState: "connecting", send: vi.fn(), onopen: null, onmessage: null, onclose: null };
  rollbacks = 0;
  restarts = 0;
  candidates: RTCIceCandidateInit[] = [];
  private readonly session = ++FakeConnection.sessions;
  private version = 0;
  private wantsRestart = false;
  /** Operations are carried out one after the other, as they were called. */
  private operations: Promise<unknown> = Promise.resolve();

  private chain<T>(operation: () => Promise<T>): Promise<T> {
    // What a connection had to do when it was closed is never done, nor does it fail.
    const never = new Promise<never>(() => {});
    const open = () => this.signalingState !== "closed";
    const done = this.operations.then(() => (open() ? operation() : never));
    this.operations = done.catch(() => {});
    return done;
  }

  private need(): void {
    queueMicrotask(() => {
      if (this.signalingState === "stable") this.onnegotiationneeded?.();
    });
  }

  get currentLocalDescription(): RTCSessionDescriptionInit | null {
    return this.localDescription;
  }

  getConfiguration(): RTCConfiguration {
    return {};
  }

  setConfiguration(): void {}

  createDataChannel() {
    this.need();
    return this.channel;
  }

  restartIce(): void {
    this.restarts++;
    this.wantsRestart = true;
    this.need();
  }

  setLocalDescription(): Promise<void> {
    return this.chain(() => this.applyLocal());
  }

  setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
    return this.chain(() => this.applyRemote(description));
  }

  addIceCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    return this.chain(async () => {
      if (this.remoteDescription === null) throw new Error("no remote description");
      this.candidates.push(candidate);
    });
  }

  private async applyLocal(): Promise<void> {
    await Promise.resolve();
    const type = this.signalingState === "have-remote-offer" ? "answer" : "offer";
    if (this.wantsRestart) this.ufrag = `u${this.restarts + 1}`;
    this.wantsRestart = false;
    this.localDescription = {
      type,
      sdp: `v=0\r\no=- ${this.session} ${++this.version} IN IP4 127.0.0.1\r\na=ice-ufrag:${this.ufrag}\r\n`,
    };
    this.signalingState = type === "offer" ? "have-local-offer" : "stable";
  }

  private async applyRemote(description: RTCSessionDescriptionInit): Promise<void> {
    await Promise.resolve();
    if (description.type === "offer") {
      if (this.signalingState === "have-local-offer") this.rollbacks++;
      this.signalingState = "have-remote-offer";
    } else {
      if (this.signalingState !== "have-local-offer") throw new Error(`answer in ${this.signalingState}`);
      this.signalingState = "stable";
      if (this.wantsRestart) this.need();
    }
    this.remoteDescription = description;
  }

  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  async getStats(): Promise<RTCStatsReport> {
    return new Map<string, object>([
      ["T", { type: "transport", selectedCandidatePairId: "P" }],
      ["P", { type: "candidate-pair", localCandidateId: "L" }],
      ["L", { candidateType: "relay", relayProtocol: "udp", usernameFragment: this.usedUfrag }],
    ]) as unknown as RTCStatsReport;
  }

  close(): void {
    this.signalingState = "closed";
    this.connectionState = "closed";
  }
}

class Side {
  connections: FakeConnection[] = [];
  sent: Signal[] = [];
  gone = 0;
  peer: Peer;

  constructor(polite: boolean) {
    const options: PeerOptions = {
      polite,
      createConnection: () => {
        const connection = new FakeConnection();
        this.connections.push(connection);
        return connection as unknown as RTCPeerConnection;
      },
      send: (signal) => this.sent.push(signal),
      onChange: () => {},
      onGone: () => this.gone++,
      tracks: () => ({ audio: null, video: null, screen: null, screenAudio: null }),
      streams: {} as Streams,
      mediaState: () => UNTOLD,
      others: () => 1,
    };
    this.peer = new Peer(options);
  }

  get connection(): FakeConnection {
    const connection = this.connections.at(-1);
    if (connection === undefined) throw new Error("no connection");
    return connection;
  }
}

/** Carries what both have sent until neither has more to say. */
async function exchange(a: Side, b: Side): Promise<void> {
  for (let quiet = 0; quiet < 3; ) {
    await vi.advanceTimersByTimeAsync(0);
    const fromA = a.sent.splice(0);
    const fromB = b.sent.splice(0);
    quiet = fromA.length + fromB.length === 0 ? quiet + 1 : 0;
    await Promise.all([
      ...fromA.map((signal) => b.peer.receive(signal)),
      ...fromB.map((signal) => a.peer.receive(signal)),
    ]);
  }
}

function agreed(a: Side, b: Side): void {
  for (const side of [a, b]) expect(side.connection.signalingState).toBe("stable");
  expect(sdpSession(a.connection.remoteDescription?.sdp)).toBe(
    sdpSession(b.connection.localDescription?.sdp),
  );
  expect(sdpSession(b.connection.remoteDescription?.sdp)).toBe(
    sdpSession(a.connection.localDescription?.sdp),
  );
}

async function connectedSides(): Promise<[Side, Side]> {
  const [polite, impolite] = [new Side(true), new Side(false)];
  await exchange(polite, impolite);
  for (const { connection } of [polite, impolite]) connection.become("connected");
  await vi.advanceTimersByTimeAsync(0);
  return [polite, impolite];
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("negotiation", () => {
  it("begins on the impolite side, without a collision", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    agreed(polite, impolite);
    expect(polite.connection.rollbacks).toBe(0);
    // The head start is over; nothing is said again.
    await vi.advanceTimersByTimeAsync(5_000);
    expect(polite.sent).toEqual([]);
  });

  it("begins on the polite side when the other stays silent", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await vi.advanceTimersByTimeAsync(0);
    impolite.sent = [];
    await vi.advanceTimersByTimeAsync(1_500);
    expect(polite.sent.map((signal) => signal.type)).toEqual(["offer"]);
  });

  it("settles a collision: the polite side rolls back, the impolite one goes on", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    for (const side of [polite, impolite]) side.peer.resync();
    await exchange(polite, impolite);
    agreed(polite, impolite);
    expect([polite.connection.rollbacks, impolite.connection.rollbacks]).toEqual([1, 0]);
  });

  it("repeats an offer that was lost, and takes the repetition of one that was not", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await vi.advanceTimersByTimeAsync(0);
    const [lost] = impolite.sent.splice(0);
    impolite.peer.resync();
    await exchange(polite, impolite);
    agreed(polite, impolite);
    if (lost !== undefined) await polite.peer.receive(lost);
    await exchange(polite, impolite);
    agreed(polite, impolite);
  });

  it("begins again by itself when nothing comes of it", async () => {
    const impolite = new Side(false);
    await vi.advanceTimersByTimeAsync(0);
    impolite.sent = [];
    await impolite.peer.tick(Date.now() + 60_000);
    expect(impolite.sent.map((signal) => signal.type)).toEqual(["offer"]);
  });

  it("waits longer each time, and longer still where it is polite", async () => {
    const begun = async (polite: boolean): Promise<number[]> => {
      const side = new Side(polite);
      await vi.advanceTimersByTimeAsync(2_000);
      const times: number[] = [];
      for (let second = 1; second <= 240; second++) {
        side.sent = [];
        await vi.advanceTimersByTimeAsync(1_000);
        await side.peer.tick(Date.now());
        await vi.advanceTimersByTimeAsync(0);
        if (side.sent.length > 0) times.push(second);
      }
      return times;
    };
    const [impolite, polite] = [await begun(false), await begun(true)];
    const gaps = (times: number[]) => times.map((time, index) => time - (times[index - 1] ?? 0)).slice(1, 4);
    expect(gaps(impolite)).toEqual([25, 49, 49]);
    expect(gaps(polite).slice(0, 2)).toEqual([37, 73]);
  });

  it("waits for one who is slow as long as he is heard", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    for (let candidate = 0; candidate < 5; candidate++) {
      await vi.advanceTimersByTimeAsync(10_000);
      await impolite.peer.receive({ type: "ice_candidate", candidate: { candidate: String(candidate) } });
      await impolite.peer.tick(Date.now());
    }
    expect(impolite.sent).toEqual([]);
  });

  it("takes no answer to an offer of before for one to that of now", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await vi.advanceTimersByTimeAsync(0);
    impolite.peer.resync();
    const [first, again] = impolite.sent.splice(0);
    if (first === undefined || again === undefined) throw new Error("no offer");
    await polite.peer.receive(first);
    await polite.peer.receive(again);
    const [answer, late] = polite.sent.splice(0);
    if (answer === undefined || late === undefined) throw new Error("no answer");
    await impolite.peer.receive(answer);
    impolite.peer.restart();
    await vi.advanceTimersByTimeAsync(0);
    await impolite.peer.receive(late);
    expect(impolite.connection.signalingState).toBe("have-local-offer");
    await exchange(polite, impolite);
    agreed(polite, impolite);
  });

  it("answers an offer that comes twice at once, and makes none of its own", async () => {
    const polite = new Side(true);
    const offer: Signal = { type: "offer", sdp: "v=0\r\no=- 99 1 IN IP4 127.0.0.1\r\n" };
    await Promise.all([polite.peer.receive(offer), polite.peer.receive(offer)]);
    expect(polite.sent.map((signal) => signal.type)).toEqual(["answer"]);
    expect(polite.connection.signalingState).toBe("stable");
  });

  it("repeats an offer that was lost although the connection of before goes on", async () => {
    const [polite, impolite] = await connectedSides();
    impolite.peer.restart();
    await vi.advanceTimersByTimeAsync(0);
    impolite.sent = [];
    await impolite.peer.tick(Date.now() + 60_000);
    expect(impolite.sent.map((signal) => signal.type)).toEqual(["offer"]);
    await exchange(polite, impolite);
    agreed(polite, impolite);
  });

  it("begins with another connection when it has not come to one for long", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    for (const seconds of [20, 60, 120, 120]) {
      await impolite.peer.tick(Date.now() + seconds * 1_000);
      await exchange(polite, impolite);
    }
    for (const side of [polite, impolite]) expect(side.connections).toHaveLength(2);
    agreed(polite, impolite);
  });

  it("does not give way after a connection that was given up in the middle of an answer", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    impolite.peer.resync();
    await vi.advanceTimersByTimeAsync(0);
    await Promise.all(impolite.sent.splice(0).map((signal) => polite.peer.receive(signal)));
    const returned = new Side(true);
    await vi.advanceTimersByTimeAsync(2_000);
    for (const signal of polite.sent.splice(0)) void impolite.peer.receive(signal);
    await impolite.peer.receive({ type: "answer", sdp: "v=0\r\no=- 99 1 IN IP4 127.0.0.1\r\n" });
    expect(impolite.connections).toHaveLength(2);
    await exchange(returned, impolite);
    agreed(returned, impolite);
    expect(impolite.connection.rollbacks).toBe(0);
  });

  it("takes an sdp that is plain text", async () => {
    const polite = new Side(true);
    await polite.peer.receive({ type: "offer", sdp: "v=0\r\no=- 99 1 IN IP4 127.0.0.1\r\n" });
    expect(polite.sent.map((signal) => signal.type)).toEqual(["answer"]);
  });
});

describe("a side that begins anew", () => {
  it.each([true, false])("meets a fresh connection (polite: %s)", async (polite) => {
    const [stays, leaves] = [new Side(polite), new Side(!polite)];
    await exchange(stays, leaves);
    const old = stays.connection;
    const returned = new Side(!polite);
    await exchange(stays, returned);
    await vi.advanceTimersByTimeAsync(2_000);
    await exchange(stays, returned);
    agreed(stays, returned);
    expect(old.signalingState).toBe("closed");
    expect(stays.connections).toHaveLength(2);
  });

  it("comes together even when it first meets an offer of the old connection", async () => {
    const [stays, leaves] = [new Side(false), new Side(true)];
    await exchange(stays, leaves);
    stays.peer.resync();
    const returned = new Side(true);
    await exchange(stays, returned);
    await vi.advanceTimersByTimeAsync(2_000);
    await exchange(stays, returned);
    agreed(stays, returned);
  });
});

describe("a connection that fails", () => {
  it("is restarted and called lost meanwhile", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    polite.connection.become("connected");
    expect(polite.peer.connected).toBe(true);
    polite.connection.become("failed");
    expect(polite.peer.link).toBe("lost");
    expect(polite.connection.restarts).toBe(1);
    await exchange(polite, impolite);
    agreed(polite, impolite);
  });

  it("is left alone while it works", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await exchange(polite, impolite);
    polite.connection.become("connected");
    polite.peer.resync();
    await vi.advanceTimersByTimeAsync(0);
    expect([polite.connection.restarts, polite.sent]).toEqual([0, []]);
  });
});

describe("new credentials", () => {
  it("move what is relayed to new candidates, and again until it has moved", async () => {
    const [polite, impolite] = await connectedSides();
    const { connection, peer } = impolite;
    peer.setIceServers([]);
    await exchange(polite, impolite);
    expect(connection.ufrag).toBe("u2");
    await peer.tick(Date.now() + 60_000);
    await exchange(polite, impolite);
    expect(connection.ufrag).toBe("u3");
    connection.usedUfrag = "u3";
    await peer.tick(Date.now() + 600_000);
    await exchange(polite, impolite);
    expect(connection.ufrag).toBe("u3");
    agreed(polite, impolite);
  });

  it("are used although another offer was under way when they came", async () => {
    const [polite, impolite] = await connectedSides();
    impolite.peer.restart();
    await vi.advanceTimersByTimeAsync(0);
    expect(impolite.connection.signalingState).toBe("have-local-offer");
    impolite.peer.setIceServers([]);
    await exchange(polite, impolite);
    expect(impolite.connection.ufrag).toBe("u3");
    agreed(polite, impolite);
  });

  it("come to both sides at once", async () => {
    const [polite, impolite] = await connectedSides();
    for (const { peer } of [polite, impolite]) peer.setIceServers([]);
    await exchange(polite, impolite);
    agreed(polite, impolite);
    for (const { connection } of [polite, impolite]) expect(connection.ufrag).toBe("u2");
  });
});

describe("candidates", () => {
  it("that come right behind their offer are not lost", async () => {
    const polite = new Side(true);
    const offer = polite.peer.receive({ type: "offer", sdp: "v=0\r\no=- 99 1 IN IP4 127.0.0.1\r\n" });
    const candidate = polite.peer.receive({ type: "ice_candidate", candidate: { candidate: "host" } });
    await Promise.all([offer, candidate]);
    expect(polite.connection.candidates).toEqual([{ candidate: "host" }]);
  });

  it("of an offer that was never seen do no harm", async () => {
    const [polite, impolite] = [new Side(true), new Side(false)];
    await polite.peer.receive({ type: "ice_candidate", candidate: { candidate: "early" } });
    await exchange(polite, impolite);
    agreed(polite, impolite);
  });
});
