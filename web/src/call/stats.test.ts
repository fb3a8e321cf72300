// Holds: what is read from statistics, of Chromium and of Firefox, and how it is judged.
import { describe, expect, it } from "vitest";
import { type Quality, QualityReader, rate } from "./stats";

type Entry = { id: string; type: string; [name: string]: unknown };
const report = (entries: Entry[]) => new Map(entries.map((entry) => [entry.id, entry]));
const reader = () => new QualityReader({} as RTCPeerConnection);

const candidates: Entry[] = [
  {
    id: "L",
    type: "local-candidate",
    candidateType: "relay",
    relayProtocol: "tls",
    usernameFragment: "x4+/",
  },
  { id: "H", type: "local-candidate", candidateType: "host" },
  { id: "R", type: "remote-candidate", candidateType: "srflx" },
];

function chromium(local: string, at: number, received: number, lost: number): Map<string, Entry> {
  return report([
    ...candidates,
    { id: "T", type: "transport", selectedCandidatePairId: "P" },
    {
      id: "P",
      type: "candidate-pair",
      timestamp: at,
      localCandidateId: local,
      remoteCandidateId: "R",
      currentRoundTripTime: 0.034,
      availableOutgoingBitrate: 900_000,
      bytesSent: at * 100,
      bytesReceived: at * 50,
    },
    { id: "I", type: "inbound-rtp", kind: "audio", packetsReceived: received, packetsLost: lost },
    { id: "O", type: "remote-inbound-rtp", kind: "audio", fractionLost: 0.1, roundTripTime: 0.2 },
  ]);
}

describe("a reading", () => {
  it("says the way, the delay, and what was lost since the one before", () => {
    const quality = reader();
    expect(quality.digest(chromium("L", 1000, 100, 50))).toEqual({
      way: "relayed",
      relayProtocol: "tls",
      ufrag: "x4+/",
      delay: 34,
      lossIn: null,
      lossOut: 0.1,
      bitrateIn: null,
      bitrateOut: null,
      available: 900_000,
    });
    const next = quality.digest(chromium("L", 3000, 190, 60));
    expect(next?.lossIn).toBeCloseTo(0.1);
    expect(next?.bitrateIn).toBe(400_000);
    expect(next?.bitrateOut).toBe(800_000);
  });

  it("takes packets that came late, and counters that begin anew, for no loss", () => {
    const quality = reader();
    quality.digest(chromium("H", 1000, 100, 50));
    expect(quality.digest(chromium("H", 2000, 200, 40))?.lossIn).toBe(0);
    expect(quality.digest(chromium("H", 3000, 10, 0))?.lossIn).toBeNull();
  });

  it("understands Firefox, which names the pair itself and times by the other side alone", () => {
    const found = reader().digest(
      report([
        ...candidates,
        { id: "X", type: "candidate-pair", selected: false },
        {
          id: "P",
          type: "candidate-pair",
          selected: true,
          timestamp: 5,
          localCandidateId: "H",
          remoteCandidateId: "R",
        },
        { id: "O", type: "remote-inbound-rtp", roundTripTime: 0.2 },
      ]),
    );
    expect(found).toMatchObject({
      way: "direct",
      relayProtocol: null,
      ufrag: null,
      delay: 200,
      available: null,
    });
  });

  it("is nothing before a pair is selected", () => {
    expect(reader().digest(report(candidates))).toBeNull();
  });
});

describe("in words", () => {
  const fine: Quality = {
    way: "direct",
    relayProtocol: null,
    ufrag: null,
    delay: 30,
    lossIn: 0,
    lossOut: 0,
    bitrateIn: 1,
    bitrateOut: 1,
    available: null,
  };
  it.each([
    [{}, "good"],
    [{ delay: null, lossIn: null, lossOut: null }, "good"],
    [{ lossOut: 0.04 }, "fair"],
    [{ delay: 300 }, "fair"],
    [{ lossIn: 0.1 }, "poor"],
    [{ delay: 700 }, "poor"],
  ] as const)("%o is %s", (part, rating) => {
    expect(rate({ ...fine, ...part })).toBe(rating);
  });
});
