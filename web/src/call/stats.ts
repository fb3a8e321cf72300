// What getStats says about the way that media takes.

/** Which way media takes; `relayed`: through the TURN server. */
export type Link = "connecting" | "direct" | "relayed" | "lost";

/** `null` while no pair of candidates is selected. */
export async function readLink(pc: RTCPeerConnection): Promise<Extract<Link, "direct" | "relayed"> | null> {
  const report = await pc.getStats();
  const stats = [...report.values()];
  const transport = stats.find((entry) => entry.type === "transport");
  const pair =
    report.get(transport?.selectedCandidatePairId ?? "") ??
    // Firefox names it on the pair itself.
    stats.find((entry) => entry.type === "candidate-pair" && entry.selected === true);
  if (pair === undefined) return null;
  const types = [
    report.get(pair.localCandidateId)?.candidateType,
    report.get(pair.remoteCandidateId)?.candidateType,
  ];
  return types.includes("relay") ? "relayed" : "direct";
}
