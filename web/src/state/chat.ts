// The chat of one room while it is open: history, sending, what comes in live, and what was missed while away.

import { signal } from "@preact/signals";
import { ApiError } from "../api/client";
import { Socket } from "../api/socket";
import type { ChatFrame, Message } from "../api/types";
import {
  acknowledge,
  addPending,
  EMPTY,
  failPending,
  merge,
  newestId,
  nextPage,
  removePending,
  type Timeline,
} from "./messages";
import { fetchRoom, markRoomRead } from "./rooms";
import { api, checkSession } from "./session";
import { report } from "./toasts";

const PAGE_SIZE = 50;
/** Pages that are fetched to close a gap; after a longer absence history begins anew from the newest. */
const CATCH_UP_PAGES = 5;

let lastKey = 0;

export class Chat {
  readonly timeline = signal<Timeline>(EMPTY);
  readonly state = signal<"loading" | "ready" | "failed">("loading");
  readonly loadingOlder = signal(false);
  readonly socket: Socket<ChatFrame>;
  private markedUpTo = 0;
  private closed = false;

  constructor(
    readonly roomId: number,
    token: string,
    private readonly myId: number,
  ) {
    void this.load();
    this.socket = new Socket<ChatFrame>(`/ws/chat/${roomId}/`, token, {
      // What was written between the history's answer and this moment came to no socket.
      onOpen: () => void this.load(),
      onFrame: (frame) => {
        if (frame.type === "chat_message") this.add([frame.data]);
      },
      onForbidden: () => {
        checkSession();
        fetchRoom(roomId).catch(report);
      },
    });
  }

  close(): void {
    this.closed = true;
    this.socket.close();
  }

  /** Fetches the newest messages, back to those already here. */
  async load(): Promise<void> {
    const known = newestId(this.timeline.peek());
    const fetched: Message[] = [];
    try {
      for (let page = 1; page <= CATCH_UP_PAGES; page++) {
        const answer = await api.messages(this.roomId, page, PAGE_SIZE);
        if (this.closed) return;
        fetched.push(...answer.results);
        const first = answer.next === null;
        if (first) this.timeline.value = { ...this.timeline.peek(), complete: true };
        const joined = fetched.some((message) => message.id <= known);
        if (first || joined || known === 0) break;
        if (page === CATCH_UP_PAGES) this.forget(known);
      }
      this.add(fetched);
      this.state.value = "ready";
    } catch (error) {
      if (this.closed) return;
      if (this.state.peek() !== "ready") this.state.value = "failed";
      if (!(error instanceof ApiError) || error.status !== 0) report(error);
    }
  }

  async loadOlder(): Promise<void> {
    const { messages, complete } = this.timeline.peek();
    if (complete || this.loadingOlder.peek() || this.state.peek() !== "ready") return;
    this.loadingOlder.value = true;
    try {
      const answer = await api.messages(this.roomId, nextPage(messages.length, PAGE_SIZE), PAGE_SIZE);
      this.add(answer.results);
      if (answer.next === null) this.timeline.value = { ...this.timeline.peek(), complete: true };
    } catch (error) {
      report(error);
    } finally {
      this.loadingOlder.value = false;
    }
  }

  async send(content: string): Promise<void> {
    const key = ++lastKey;
    this.timeline.value = addPending(this.timeline.peek(), key, content);
    try {
      const message = await api.sendMessage(this.roomId, content);
      this.timeline.value = acknowledge(this.timeline.peek(), key, message, this.myId);
    } catch (error) {
      this.timeline.value = failPending(this.timeline.peek(), key);
      report(error);
    }
  }

  async retry(key: number): Promise<void> {
    const entry = this.timeline.peek().pending.find((pending) => pending.key === key);
    if (entry === undefined) return;
    this.discard(key);
    await this.send(entry.content);
  }

  discard(key: number): void {
    this.timeline.value = removePending(this.timeline.peek(), key);
  }

  /** The newest message is before the user's eyes. */
  markRead(): void {
    const newest = newestId(this.timeline.peek());
    if (newest <= this.markedUpTo || !this.socket.send("mark_room_as_read")) return;
    this.markedUpTo = newest;
    markRoomRead(this.roomId);
  }

  private add(messages: readonly Message[]): void {
    this.timeline.value = merge(this.timeline.peek(), messages, this.myId);
  }

  private forget(upTo: number): void {
    const timeline = this.timeline.peek();
    const messages = timeline.messages.filter((message) => message.id > upTo);
    this.timeline.value = { ...timeline, messages, complete: false };
  }
}
