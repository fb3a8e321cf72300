// "Why can't I be heard?": each part that a call needs is tried by itself, with the time it took. What is wrong in
// words, and what to do about it, is left to the screen.

import type { TurnCredentials } from "../api/types";
import { tryRelay, trySocket, tryStun } from "./check-ways";
import { Meter } from "./level";
import type { LocalMedia } from "./local";
import { type MediaProblem, openDevice } from "./media";

/** In the order in which they are tried and shown. */
export const STEPS = ["microphone", "camera", "server", "socket", "stun", "udp", "tcp", "tls"] as const;
export type StepName = (typeof STEPS)[number];

export type Finding =
  | { state: "waiting" | "running" }
  /** `ms`: how long it took; `note` says more. */
  | { state: "good"; ms: number; note?: string }
  /** It works, but there is something to know. */
  | { state: "doubtful"; ms: number; reason: Reason }
  | { state: "failed"; ms: number; reason: Reason }
  /** Not tried, for this server does not have it or something before it failed. */
  | { state: "skipped"; reason: Reason };

export type Reason =
  | MediaProblem
  | "silent"
  | "unmeasured"
  | "muted"
  | "no_answer"
  | "refused"
  | "not_offered"
  | "no_credentials"
  | "blocked";

export type Findings = Record<StepName, Finding>;

export interface CheckOptions {
  /** Of the call that one is in; else devices are opened and closed again. */
  media: LocalMedia | null;
  wish: { microphone: string; camera: string; noiseSuppression: boolean };
  token: string;
  credentials: () => Promise<TurnCredentials>;
  onFinding: (step: StepName, finding: Finding) => void;
}

/** So long somebody may be silent before the microphone is doubted. */
const LISTEN_MS = 2_500;
/** As `Meter.level` has it: a room in which nobody speaks is above that, a switched-off microphone is not. */
const SOUND = 0.06;

export const untried = (): Findings =>
  Object.fromEntries(STEPS.map((step) => [step, { state: "waiting" }])) as Findings;

/** Tries all; those that do not need each other at once. */
export async function check(options: CheckOptions, signal: AbortSignal): Promise<void> {
  const run = async (step: StepName, work: () => Promise<Finding>): Promise<Finding> => {
    options.onFinding(step, { state: "running" });
    const began = performance.now();
    let finding: Finding;
    try {
      finding = await work();
    } catch {
      finding = { state: "failed", ms: performance.now() - began, reason: "unknown" };
    }
    if (!signal.aborted) options.onFinding(step, finding);
    return finding;
  };
  const devices = async () => {
    await run("microphone", () => tryMicrophone(options, signal));
    await run("camera", () => tryCamera(options));
  };
  const network = async () => {
    await run("server", tryServer);
    await run("socket", () => trySocket(options.token, signal));
    const credentials = await options.credentials().catch(() => null);
    const stun = urlsOf(credentials, "stun:")[0];
    await run("stun", () => withWay(credentials, stun, (url) => tryStun(url, signal)));
    // One after the other: a slow line would make each seem slower.
    for (const way of ["udp", "tcp", "tls"] as const) {
      const url = urlsOf(credentials, "turn").find((candidate) => wayOf(candidate) === way);
      await run(way, () =>
        withWay(credentials, url, (urls) => tryRelay({ ...relayOf(credentials), urls }, signal)),
      );
    }
  };
  await Promise.all([devices(), network()]);
}

/** How a TURN URI (RFC 7065) is reached. */
export function wayOf(url: string): "udp" | "tcp" | "tls" {
  if (url.startsWith("turns:")) return "tls";
  return url.includes("transport=tcp") ? "tcp" : "udp";
}

function urlsOf(credentials: TurnCredentials | null, scheme: string): string[] {
  const servers = credentials?.iceServers ?? [];
  return servers.flatMap(({ urls }) => urls).filter((url) => url.startsWith(scheme));
}

function relayOf(credentials: TurnCredentials | null): RTCIceServer {
  return credentials?.iceServers.find(({ username }) => username !== undefined) ?? { urls: [] };
}

async function withWay(
  credentials: TurnCredentials | null,
  url: string | undefined,
  work: (url: string) => Promise<Finding>,
): Promise<Finding> {
  if (credentials === null) return { state: "skipped", reason: "no_credentials" };
  if (url === undefined) return { state: "skipped", reason: "not_offered" };
  return work(url);
}

async function tryServer(): Promise<Finding> {
  const began = performance.now();
  const took = () => performance.now() - began;
  try {
    const answer = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (answer.ok) return { state: "good", ms: took() };
    return { state: "failed", ms: took(), reason: "refused" };
  } catch {
    return { state: "failed", ms: took(), reason: "no_answer" };
  }
}

async function tryMicrophone({ media, wish }: CheckOptions, signal: AbortSignal): Promise<Finding> {
  const began = performance.now();
  const open = media?.meter.peek() ?? null;
  if (media !== null && open !== null && media.audio.peek() === "off") {
    return { state: "doubtful", ms: performance.now() - began, reason: "muted" };
  }
  const opened =
    open === null
      ? await openDevice("audio", { deviceId: wish.microphone, noiseSuppression: wish.noiseSuppression })
      : { track: null, problem: null };
  const ms = performance.now() - began;
  if (opened.problem !== null) return { state: "failed", ms, reason: opened.problem };
  const meter = open ?? (opened.track === null ? null : new Meter(opened.track));
  let heard = false;
  const until = performance.now() + LISTEN_MS;
  while (meter !== null && !heard && performance.now() < until && !signal.aborted) {
    heard = meter.level() > SOUND;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const measured = meter?.runs ?? false;
  const note = opened.track?.label ?? media?.tracks.audio?.label ?? "";
  if (open === null) meter?.close();
  opened.track?.stop();
  if (heard) return { state: "good", ms, note };
  return { state: "doubtful", ms, reason: measured ? "silent" : "unmeasured" };
}

async function tryCamera({ media, wish }: CheckOptions): Promise<Finding> {
  const open = media?.tracks.video;
  if (open !== null && open !== undefined) return { state: "good", ms: 0, note: open.label };
  const began = performance.now();
  const { track, problem } = await openDevice("video", {
    deviceId: wish.camera,
    noiseSuppression: wish.noiseSuppression,
  });
  const ms = performance.now() - began;
  track?.stop();
  if (problem !== null) return { state: "failed", ms, reason: problem };
  return { state: "good", ms, note: track?.label ?? "" };
}

export interface ReportFacts {
  site: string;
  version: string;
  browser: string;
  at: Date;
}

/** The result as plain text for whoever runs the server: no address, no name, no credential. */
export function reportOf(findings: Findings, facts: ReportFacts): string {
  const lines = STEPS.map((step) => {
    const finding = findings[step];
    const ms = "ms" in finding ? ` ${Math.round(finding.ms)} ms` : "";
    const why = "reason" in finding ? ` (${finding.reason})` : "";
    return `${step.padEnd(10)} ${finding.state}${ms}${why}`;
  });
  return [
    `MOznoDS ${facts.version}, connection check`,
    `${facts.site}, ${facts.at.toISOString()}`,
    facts.browser,
    "",
    ...lines,
  ].join("\n");
}
