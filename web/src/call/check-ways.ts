// The ways of the connection check: the socket, STUN, and the relay by each transport. All of them give up in time.

import type { Finding } from "./check";

const PATIENCE_MS = 10_000;
/** Browsers give a STUN server that does not answer up only after that. */
const STUN_GIVES_UP_MS = 4_000;

/** Resolves with what `begin` hands to its argument, or with a failure when that takes too long. */
function within(
  signal: AbortSignal,
  begin: (done: (finding: Finding) => void, took: () => number) => () => void,
): Promise<Finding> {
  return new Promise((resolve) => {
    const began = performance.now();
    const took = () => performance.now() - began;
    let stop: (() => void) | undefined;
    let over = false;
    const done = (finding: Finding) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", fail);
      resolve(finding);
      // `begin` may be done before it has returned.
      queueMicrotask(() => stop?.());
    };
    const fail = () => done({ state: "failed", ms: took(), reason: "no_answer" });
    const timer = setTimeout(fail, PATIENCE_MS);
    signal.addEventListener("abort", fail);
    stop = begin(done, took);
  });
}

/** Opens a socket and waits for an answer to a ping. */
export function trySocket(token: string, signal: AbortSignal): Promise<Finding> {
  return within(signal, (done, took) => {
    const url = new URL("/ws/notifications/", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    const ws = new WebSocket(url, ["moznods", `token.${token}`]);
    ws.onopen = () => ws.send(JSON.stringify({ type: "ping" }));
    ws.onmessage = ({ data }) => {
      if (String(data).includes('"pong"')) done({ state: "good", ms: took() });
    };
    ws.onclose = () => done({ state: "failed", ms: took(), reason: "blocked" });
    return () => {
      ws.onclose = null;
      ws.close();
    };
  });
}

/**
 * Asks a STUN server by which address this device is seen. Where that is the device's own, browsers keep the answer to
 * themselves; that they are done soon and without an error says that there was one.
 */
export function tryStun(url: string, signal: AbortSignal): Promise<Finding> {
  return within(signal, (done, took) => {
    const pc = new RTCPeerConnection({ iceServers: [{ urls: url }] });
    let failed = false;
    pc.onicecandidateerror = () => {
      failed = true;
    };
    pc.onicecandidate = ({ candidate }) => {
      if (candidate?.type === "srflx") done({ state: "good", ms: took() });
    };
    pc.onicegatheringstatechange = () => {
      if (pc.iceGatheringState !== "complete") return;
      if (failed || took() > STUN_GIVES_UP_MS) {
        done({ state: "failed", ms: took(), reason: "no_answer" });
      } else done({ state: "good", ms: took() });
    };
    pc.createDataChannel("check");
    pc.setLocalDescription().catch(() => done({ state: "failed", ms: took(), reason: "unknown" }));
    return () => pc.close();
  });
}

/** Sends a word there and back between two connections that may use this relay alone, and this transport. */
export function tryRelay(server: RTCIceServer, signal: AbortSignal): Promise<Finding> {
  return within(signal, (done, took) => {
    const configuration: RTCConfiguration = { iceServers: [server], iceTransportPolicy: "relay" };
    const one = new RTCPeerConnection(configuration);
    const other = new RTCPeerConnection(configuration);
    let refused = false;
    for (const [here, there] of [
      [one, other],
      [other, one],
    ] as const) {
      here.onicecandidate = ({ candidate }) => {
        if (candidate !== null) void there.addIceCandidate(candidate).catch(() => {});
      };
      here.onicecandidateerror = ({ errorCode }) => {
        // 401: what this server itself has just given is not taken; 486 and 508: no room (RFC 8656 §18).
        if (errorCode >= 400 && errorCode < 600) refused = true;
      };
      here.onicegatheringstatechange = () => {
        const none = !here.localDescription?.sdp.includes(" typ relay");
        if (here.iceGatheringState === "complete" && none) {
          done({ state: "failed", ms: took(), reason: refused ? "refused" : "blocked" });
        }
      };
    }
    other.ondatachannel = ({ channel }) => {
      channel.onmessage = ({ data }) => channel.send(data);
    };
    const channel = one.createDataChannel("check");
    channel.onopen = () => channel.send("there and back");
    channel.onmessage = () => done({ state: "good", ms: took() });
    connect(one, other).catch(() => done({ state: "failed", ms: took(), reason: "unknown" }));
    return () => {
      one.close();
      other.close();
    };
  });
}

async function connect(one: RTCPeerConnection, other: RTCPeerConnection): Promise<void> {
  await one.setLocalDescription();
  if (one.localDescription === null) return;
  await other.setRemoteDescription(one.localDescription);
  await other.setLocalDescription();
  if (other.localDescription === null) return;
  await one.setRemoteDescription(other.localDescription);
}
