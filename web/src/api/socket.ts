// A WebSocket that comes back: backoff with jitter, a heartbeat that notices a dead line, and no more tries once
// the server says that one may not be there. What the frames mean is left to the owner.

import { signal } from "@preact/signals";

/** Close codes of the server: a token that it does not know, and no right to be here. */
const FORBIDDEN = [4401, 4403];

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;
/** Silence after which the line is tested, and the wait for an answer to the test. */
const PING_AFTER_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
/** The same where somebody has reason to believe that the line is dead. */
const PROBE_WITHIN_MS = 4_000;
/** A line that held for so long was a good one: the next tries begin soon. */
const GOOD_AFTER_MS = 5_000;

export interface SocketHandlers<Frame> {
  onOpen?: () => void;
  onFrame: (frame: Frame) => void;
  /** The server refused; no further try is made. */
  onForbidden: () => void;
}

/** Milliseconds until try number `attempt` (from 0): doubled each time, half of it by chance. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return full / 2 + (full / 2) * random();
}

export class Socket<Frame> {
  /** Whether frames can be sent now. */
  readonly connected = signal(false);
  private ws: WebSocket | null = null;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private readonly heartbeat: ReturnType<typeof setInterval>;
  private openedAt = 0;
  private heardAt = 0;
  /** 0: no ping is unanswered. */
  private pingedAt = 0;
  private closed = false;

  constructor(
    /** A function is asked anew for each try. */
    private readonly path: string | (() => string),
    private readonly token: string,
    private readonly handlers: SocketHandlers<Frame>,
  ) {
    this.heartbeat = setInterval(() => this.beat(), 2_000);
    window.addEventListener("online", this.reconnectNow);
    window.addEventListener("offline", this.suspect);
    this.connect();
  }

  /** Sends, or says that it could not. */
  send(type: string, data: object = {}): boolean {
    if (this.ws?.readyState !== WebSocket.OPEN) return false;
    this.ws.send(JSON.stringify({ type, data }));
    return true;
  }

  close(): void {
    this.closed = true;
    clearInterval(this.heartbeat);
    clearTimeout(this.retry);
    window.removeEventListener("online", this.reconnectNow);
    window.removeEventListener("offline", this.suspect);
    this.drop();
  }

  private connect(): void {
    const url = new URL(typeof this.path === "string" ? this.path : this.path(), location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    const ws = new WebSocket(url, ["moznods", `token.${this.token}`]);
    this.ws = ws;
    this.heard();
    ws.onopen = () => {
      this.openedAt = Date.now();
      this.heard();
      this.connected.value = true;
      this.handlers.onOpen?.();
    };
    ws.onmessage = (event) => {
      this.heard();
      let frame: { type?: unknown };
      try {
        frame = JSON.parse(String(event.data));
      } catch {
        return;
      }
      if (frame.type !== "pong") this.handlers.onFrame(frame as Frame);
    };
    ws.onclose = (event) => {
      if (this.connected.peek() && Date.now() - this.openedAt > GOOD_AFTER_MS) this.attempt = 0;
      this.drop();
      if (FORBIDDEN.includes(event.code)) {
        this.close();
        this.handlers.onForbidden();
        return;
      }
      this.retry = setTimeout(() => this.connect(), backoff(this.attempt++));
    };
  }

  /** Somebody has reason to believe that the line is dead: it has to answer soon. */
  probe(): void {
    if (this.pingedAt !== 0 || !this.connected.peek()) return;
    this.pingedAt = Date.now() - PONG_WITHIN_MS + PROBE_WITHIN_MS;
    this.send("ping");
    setTimeout(() => this.beat(), PROBE_WITHIN_MS + 100);
  }

  private drop(): void {
    const ws = this.ws;
    this.ws = null;
    this.connected.value = false;
    if (ws === null) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close();
  }

  private heard(): void {
    this.heardAt = Date.now();
    this.pingedAt = 0;
  }

  private beat(): void {
    const now = Date.now();
    if (this.pingedAt !== 0) {
      if (now - this.pingedAt > PONG_WITHIN_MS) this.reconnectNow();
    } else if (now - this.heardAt > PING_AFTER_MS) {
      this.pingedAt = now;
      this.send("ping");
    }
  }

  /** Without a network it most probably is; one to this very machine may live on. */
  private readonly suspect = (): void => this.probe();

  private readonly reconnectNow = (): void => {
    if (this.closed) return;
    clearTimeout(this.retry);
    this.drop();
    this.connect();
  };
}
