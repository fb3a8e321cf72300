// One room while it is open: the part of its history that is on the screen, what happens to it, who is typing, and what
// of it has been read.

import { batch, signal } from "@preact/signals";
import { ApiError, type Place } from "../api/client";
import type { LiveFrame, Message, StoredFile, Window } from "../api/types";
import { connected, onLive, resyncs, sendLive } from "./live";
import {
  appended,
  arrived,
  deleted,
  EMPTY,
  edited,
  newestId,
  oldestId,
  prepended,
  reacted,
  readUpTo,
  replaced,
  type Timeline,
} from "./messages";
import { onTaken, post } from "./outbox";
import { meet } from "./people";
import { markRoomRead, rooms } from "./rooms";
import { api } from "./session";
import { report } from "./toasts";

const PART = 50;
/** How long one is shown as typing after the last word of it. */
const TYPING_MS = 7_000;
/** Between two words to the server that one is typing. */
const TYPING_EACH_MS = 3_000;

/** A message to be shown; `flash`: as the one that was sought. */
type Goal = { id: number; flash: boolean } | null;

export class Chat {
  readonly timeline = signal<Timeline>(EMPTY);
  readonly state = signal<"loading" | "ready" | "failed">("loading");
  readonly loadingOlder = signal(false);
  readonly loadingNewer = signal(false);
  /** Names of those who are typing, by their ids. */
  readonly typing = signal<ReadonlyMap<number, string>>(new Map());
  /** What is answered or changed by what is being written. */
  readonly replyTo = signal<Message | null>(null);
  readonly editing = signal<Message | null>(null);
  /** The first message that was unread when the room was opened. */
  readonly unreadFrom = signal<number | null>(null);
  /** A message that is to be shown; the view takes it away once it has been. */
  readonly goal = signal<Goal>(null);
  /** Messages that came in while the reader looked elsewhere. */
  readonly unseen = signal(0);
  /** Messages that are pinned. */
  readonly pins = signal<ReadonlySet<number>>(new Set());
  /** The view says whether its reader sees the end. */
  atEnd = true;
  /** The first message in sight, by which its place is found again. */
  shown: number | null = null;

  private readonly typingEnds = new Map<number, ReturnType<typeof setTimeout>>();
  private typedAt = 0;
  private markedUpTo = 0;
  private resynced = resyncs.peek();
  private closed = false;
  /** Grows with each load of another place: answers to the one before are too late. */
  private place = 0;
  private wanted: { place: Place; goal: Goal } = { place: {}, goal: null };
  private readonly stops: (() => void)[];

  constructor(
    readonly roomId: number,
    private readonly myId: number,
    at: number | null,
  ) {
    const unread = rooms.peek().get(roomId)?.first_unread_id ?? null;
    this.unreadFrom.value = unread;
    void this.open(at ?? unread, at !== null);
    void this.loadPins();
    this.stops = [
      onLive((frame) => this.receive(frame)),
      onTaken((message) => {
        if (message.room === roomId) this.arrive(message);
      }),
      resyncs.subscribe((count) => {
        if (count === this.resynced) return;
        // The first fetch may have come before news began.
        this.resynced = count;
        void this.again();
      }),
    ];
  }

  close(): void {
    this.closed = true;
    this.stopTyping();
    for (const stop of this.stops) stop();
    for (const timer of this.typingEnds.values()) clearTimeout(timer);
  }

  /** Shows a message, or the newest: from what is here, or fetched. */
  async open(at: number | null, flash = false): Promise<void> {
    if (at === null) {
      await this.load({}, null);
      return;
    }
    const goal = { id: at, flash };
    if (this.timeline.peek().messages.some((message) => message.id === at)) this.goal.value = goal;
    else if (!(await this.load({ around: at }, goal)) && this.state.peek() !== "ready")
      await this.load({}, null);
  }

  async toNewest(): Promise<void> {
    this.unseen.value = 0;
    if (this.timeline.peek().after) await this.load({}, null);
  }

  /** Fetches again what is on the screen, or what was to be. */
  private async again(): Promise<void> {
    void this.loadPins();
    if (this.state.peek() !== "ready") await this.load(this.wanted.place, this.wanted.goal);
    else await this.load(this.atEnd || this.shown === null ? {} : { around: this.shown }, null);
  }

  private async load(place: Place, goal: Goal): Promise<boolean> {
    const mine = ++this.place;
    this.wanted = { place, goal };
    try {
      const window = await this.fetch(place);
      if (this.closed || mine !== this.place) return false;
      batch(() => {
        if (goal !== null) this.goal.value = goal;
        this.timeline.value = replaced(window);
        this.state.value = "ready";
      });
      return true;
    } catch (error) {
      if (this.closed || mine !== this.place) return false;
      if (this.state.peek() !== "ready") this.state.value = "failed";
      // Without a line the screen says so, and what is here stays.
      if (!(error instanceof ApiError) || (error.status !== 0 && error.status !== 404)) report(error);
      return false;
    }
  }

  private async fetch(place: Place): Promise<Window> {
    const window = await api.messages(this.roomId, place, PART);
    meet(window.results.map((message) => message.author));
    return window;
  }

  loadOlder(): Promise<void> {
    const { before } = this.timeline.peek();
    if (!before) return Promise.resolve();
    return this.more(this.loadingOlder, { before: oldestId(this.timeline.peek()) }, prepended);
  }

  loadNewer(): Promise<void> {
    const { after } = this.timeline.peek();
    if (!after) return Promise.resolve();
    return this.more(this.loadingNewer, { after: newestId(this.timeline.peek()) }, appended);
  }

  private async more(
    busy: { value: boolean; peek: () => boolean },
    place: Place,
    joined: (timeline: Timeline, window: Window) => Timeline,
  ): Promise<void> {
    if (busy.peek() || this.state.peek() !== "ready") return;
    busy.value = true;
    const mine = this.place;
    try {
      const window = await this.fetch(place);
      if (mine === this.place) this.timeline.value = joined(this.timeline.peek(), window);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 0) report(error);
    } finally {
      busy.value = false;
    }
  }

  private async loadPins(): Promise<void> {
    try {
      const pins = await api.pins(this.roomId);
      if (!this.closed) this.pins.value = new Set(pins.map((pin) => pin.message.id));
    } catch {
      // Without them the room is as good.
    }
  }

  async pin(message: Message): Promise<void> {
    try {
      await api.pinMessage(message.id, !this.pins.peek().has(message.id));
      await this.loadPins();
    } catch (error) {
      report(error);
    }
  }

  send(content: string, files: StoredFile[]): void {
    const answered = this.replyTo.peek();
    const reply =
      answered === null
        ? null
        : { id: answered.id, author: answered.author, excerpt: answered.content, deleted: false };
    this.replyTo.value = null;
    this.unreadFrom.value = null;
    this.stopTyping();
    post({ room: this.roomId, content, files, reply });
    // One's own words are at the end.
    void this.toNewest();
  }

  async saveEdit(message: Message, content: string): Promise<boolean> {
    try {
      this.change(edited(this.timeline.peek(), await api.editMessage(message.id, content)));
      return true;
    } catch (error) {
      report(error);
      return false;
    }
  }

  async remove(message: Message): Promise<void> {
    try {
      await api.deleteMessage(message.id);
      this.change(deleted(this.timeline.peek(), message.id));
    } catch (error) {
      report(error);
    }
  }

  async react(message: Message, emoji: string): Promise<void> {
    const known = message.reactions.find((reaction) => reaction.emoji === emoji);
    const added = !(known?.user_ids.includes(this.myId) ?? false);
    try {
      this.change(edited(this.timeline.peek(), await api.react(message.id, emoji, added)));
    } catch (error) {
      report(error);
    }
  }

  /** Links of files end; a message that is fetched again has new ones. */
  async refreshFiles(message: Message): Promise<void> {
    try {
      this.change(edited(this.timeline.peek(), await api.message(message.id)));
    } catch {
      // The picture that did not load says enough.
    }
  }

  /** Somebody writes here; `text`: whether there is anything yet. */
  typed(text: boolean): void {
    if (!text) {
      this.stopTyping();
      return;
    }
    const now = Date.now();
    if (now - this.typedAt < TYPING_EACH_MS) return;
    this.typedAt = now;
    sendLive("typing", { room_id: this.roomId });
  }

  private stopTyping(): void {
    if (this.typedAt === 0) return;
    this.typedAt = 0;
    sendLive("stop_typing", { room_id: this.roomId });
  }

  /** Everything up to message `id` is before the reader's eyes. */
  markRead(id: number): void {
    if (id <= this.markedUpTo || !connected.peek()) return;
    const { messages, after } = this.timeline.peek();
    const room = rooms.peek().get(this.roomId);
    const last = id === messages.at(-1)?.id && !after;
    if (last) this.unseen.value = 0;
    const unread = room?.first_unread_id ?? null;
    if (unread !== null && id < unread) return;
    if (!sendLive("message_read", { room_id: this.roomId, message_id: id })) return;
    this.markedUpTo = id;
    if (last) markRoomRead(this.roomId);
  }

  private change(timeline: Timeline): void {
    if (!this.closed) this.timeline.value = timeline;
  }

  private arrive(message: Message): void {
    if (this.state.peek() !== "ready") return;
    const before = this.timeline.peek();
    this.timeline.value = arrived(before, message, this.atEnd);
    if (!this.atEnd && message.author.id !== this.myId && newestId(before) < message.id) this.unseen.value++;
  }

  private receive(frame: LiveFrame): void {
    if (!("data" in frame) || frame.data === undefined || !("room_id" in frame.data)) return;
    if (frame.data.room_id !== this.roomId) return;
    const timeline = this.timeline.peek();
    switch (frame.type) {
      case "chat_message":
        this.setTyping(frame.data.author.id, null);
        this.arrive(frame.data);
        break;
      case "message_edited":
        this.change(edited(timeline, frame.data));
        break;
      case "message_deleted": {
        const { message_id: id } = frame.data;
        if (this.replyTo.peek()?.id === id) this.replyTo.value = null;
        if (this.editing.peek()?.id === id) this.editing.value = null;
        this.change(deleted(timeline, id));
        break;
      }
      case "reaction_changed": {
        const { message_id: id, emoji, user_id: user, added } = frame.data;
        this.change(reacted(timeline, id, emoji, user, added));
        break;
      }
      case "message_pinned":
      case "message_unpinned":
        void this.loadPins();
        break;
      case "message_read":
        this.change(readUpTo(timeline, frame.data.message_id, frame.data.user_id));
        break;
      case "typing":
        this.setTyping(frame.data.user_id, frame.data.username);
        break;
      case "stop_typing":
        this.setTyping(frame.data.user_id, null);
        break;
    }
  }

  private setTyping(user: number, username: string | null): void {
    clearTimeout(this.typingEnds.get(user));
    this.typingEnds.delete(user);
    if (user === this.myId) return;
    const now = new Map(this.typing.peek());
    if (username === null) {
      if (!now.delete(user)) return;
    } else {
      now.set(user, username);
      this.typingEnds.set(
        user,
        setTimeout(() => this.setTyping(user, null), TYPING_MS),
      );
    }
    this.typing.value = now;
  }
}
