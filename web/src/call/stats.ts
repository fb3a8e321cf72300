// What getStats says about the way that media takes to one other participant, and how well it travels.

/** Which way media takes; `relayed`: through the TURN server. */
export type Link = "connecting" | "direct" | "relayed" | "lost";

/** Since the reading before. What the browser does not tell is `null`. */
export interface Quality {
  way: "direct" | "relayed";
  /** How the relay is reached, if one is. */
  relayProtocol: "udp" | "tcp" | "tls" | null;
  /** Of one's own candidate: another one after each ICE restart. */
  ufrag: string | null;
  /** Milliseconds there and back. */
  delay: number | null;
  /** Shares of packets, from 0 to 1. */
  lossIn: number | null;
  lossOut: number | null;
  /** Bits per second. */
  bitrateIn: number | null;
  bitrateOut: number | null;
  /** What the browser believes to have room for, in bits per second (Chromium alone says). */
  available: number | null;
}

export type Rating = "good" | "fair" | "poor";

/** As a listener would judge: what is lost hurts more than what comes late. */
export function rate({ delay, lossIn, lossOut }: Quality): Rating {
  const loss = Math.max(lossIn ?? 0, lossOut ?? 0);
  if (loss > 0.08 || (delay ?? 0) > 500) return "poor";
  if (loss > 0.025 || (delay ?? 0) > 250) return "fair";
  return "good";
}

// biome-ignore lint/suspicious/noExplicitAny: the typings leave out most of what reports hold
type Entry = any;

interface Counters {
  at: number;
  received: number;
  lost: number;
  bytesIn: number;
  bytesOut: number;
}

/** Reads one connection again and again. */
export class QualityReader {
  private before: Counters | null = null;

  constructor(private readonly pc: RTCPeerConnection) {}

  /** `null` while no pair of candidates is selected. */
  async read(): Promise<Quality | null> {
    return this.digest(await this.pc.getStats());
  }

  digest(report: ReadonlyMap<string, Entry>): Quality | null {
    const stats = [...report.values()];
    const pair = selectedPair(report, stats);
    if (pair === undefined) return null;
    const local = report.get(pair.localCandidateId);
    const remote = report.get(pair.remoteCandidateId);
    const isRelayed = local?.candidateType === "relay" || remote?.candidateType === "relay";
    const inbound = stats.filter((entry) => entry.type === "inbound-rtp");
    const theirs = stats.filter((entry) => entry.type === "remote-inbound-rtp");
    const now: Counters = {
      at: pair.timestamp,
      received: sum(inbound, "packetsReceived"),
      lost: sum(inbound, "packetsLost"),
      bytesIn: pair.bytesReceived ?? sum(inbound, "bytesReceived"),
      bytesOut: pair.bytesSent ?? 0,
    };
    const { before } = this;
    this.before = now;
    return {
      way: isRelayed ? "relayed" : "direct",
      relayProtocol: (local?.candidateType === "relay" ? local.relayProtocol : null) ?? null,
      ufrag: local?.usernameFragment ?? null,
      delay: milliseconds(pair.currentRoundTripTime ?? worst(theirs, "roundTripTime")),
      lossIn: before === null ? null : share(now.lost - before.lost, now.received - before.received),
      lossOut: worst(theirs, "fractionLost"),
      bitrateIn: before === null ? null : rateOf(now.bytesIn - before.bytesIn, now.at - before.at),
      bitrateOut: before === null ? null : rateOf(now.bytesOut - before.bytesOut, now.at - before.at),
      available: pair.availableOutgoingBitrate ?? null,
    };
  }
}

function selectedPair(report: ReadonlyMap<string, Entry>, stats: Entry[]): Entry | undefined {
  const transport = stats.find((entry) => entry.type === "transport");
  return (
    report.get(transport?.selectedCandidatePairId ?? "") ??
    // Firefox names it on the pair itself.
    stats.find((entry) => entry.type === "candidate-pair" && entry.selected === true)
  );
}

const sum = (entries: Entry[], name: string): number =>
  entries.reduce((total, entry) => total + (entry[name] ?? 0), 0);

function worst(entries: Entry[], name: string): number | null {
  const values = entries.map((entry) => entry[name]).filter((value) => typeof value === "number");
  return values.length === 0 ? null : Math.max(...values);
}

const milliseconds = (seconds: number | null): number | null =>
  seconds === null ? null : Math.round(seconds * 1000);

/** Counters begin anew with a new connection; packets that came late after all make the count of lost ones fall. */
function share(lost: number, received: number): number | null {
  if (received < 0 || lost + received <= 0) return null;
  return Math.max(0, lost) / (Math.max(0, lost) + received);
}

function rateOf(bytes: number, millisecondsPassed: number): number | null {
  return bytes < 0 || millisecondsPassed <= 0 ? null : (bytes * 8000) / millisecondsPassed;
}
