// The messages of a room and how one moves among them. What is read never moves by itself: whatever comes in above or is
// let go, the line under the eye stays where it is.

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Message, Room } from "../../api/types";
import { isSameDay, t } from "../../i18n";
import type { Chat } from "../../state/chat";
import { connected } from "../../state/live";
import { outbox } from "../../state/outbox";
import { nameOf, person } from "../../state/people";
import { Empty, Spinner } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { Composer } from "./composer";
import { MessageItem, PendingItem } from "./item";

/** Messages of one author within so long stand together. */
const GROUP_MS = 5 * 60_000;
/** Pixels from the end that still count as being there. */
const NEAR = 60;
/** Heights of the window ahead of the reader at which more is fetched. */
const AHEAD = 1.5;
/** How long a message that was sought is marked. */
const FLASH_MS = 1_600;

/** A message and where its top stands in the window. */
type Anchor = { id: number; top: number } | null;

const rowsOf = (box: HTMLElement) => box.querySelectorAll<HTMLElement>("[data-message-id]");
const idOf = (row: HTMLElement | undefined): number => Number(row?.dataset.messageId ?? 0);

/** The first row that reaches below `y`, found by halving. */
function rowAt(rows: NodeListOf<HTMLElement>, y: number): HTMLElement | undefined {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle]?.getBoundingClientRect().bottom ?? 0) > y) high = middle;
    else low = middle + 1;
  }
  return rows[low];
}

function measure(box: HTMLElement): Anchor {
  const row = rowAt(rowsOf(box), box.getBoundingClientRect().top);
  return row === undefined ? null : { id: idOf(row), top: row.getBoundingClientRect().top };
}

export function ChatView({ chat, room }: { chat: Chat; room: Room }): JSX.Element {
  const timeline = chat.timeline.value;
  const { messages } = timeline;
  const pending = timeline.after ? [] : outbox.value.filter((entry) => entry.room === chat.roomId);
  const state = chat.state.value;
  const unreadFrom = chat.unreadFrom.value;
  const list = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLOListElement>(null);
  const sticks = useRef(true);
  const [away, setAway] = useState(false);
  const goal = chat.goal.value;
  // Before this drawing changes anything: where does what is read stand?
  const anchor = useRef<Anchor>(null);
  if (list.current !== null) anchor.current = measure(list.current);

  function restore(): void {
    const box = list.current;
    if (box === null) return;
    if (sticks.current) {
      box.scrollTop = box.scrollHeight;
      return;
    }
    const kept = anchor.current;
    const row = kept && box.querySelector(`[data-message-id="${kept.id}"]`);
    if (row) box.scrollTop += row.getBoundingClientRect().top - kept.top;
  }

  useLayoutEffect(() => {
    const box = list.current;
    const row = goal && box?.querySelector<HTMLElement>(`[data-message-id="${goal.id}"]`);
    if (box && row) {
      const offset = row.getBoundingClientRect().top - box.getBoundingClientRect().top;
      sticks.current = false;
      box.scrollTop += offset - box.clientHeight / 4;
      chat.goal.value = null;
      if (goal.flash) {
        row.classList.add("flash");
        row.focus({ preventScroll: true });
        setTimeout(() => row.classList.remove("flash"), FLASH_MS);
      }
    } else restore();
    look();
  }, [timeline, pending.length, state, goal]);

  // The window changes its height, a font comes in: the place is kept as well.
  useEffect(() => {
    if (list.current === null || content.current === null) return;
    const observer = new ResizeObserver(() => {
      restore();
      look();
    });
    observer.observe(list.current);
    observer.observe(content.current);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    const back = () => look();
    document.addEventListener("visibilitychange", back);
    window.addEventListener("focus", back);
    return () => {
      document.removeEventListener("visibilitychange", back);
      window.removeEventListener("focus", back);
    };
  }, [chat]);
  // What could not be said without a line is said now
  useEffect(() => look(), [connected.value]);

  /** Where the reader is, what that means to be read, and whether more is wanted. */
  function look(): void {
    const box = list.current;
    if (box === null || chat.state.peek() !== "ready") return;
    const { after } = chat.timeline.peek();
    const below = box.scrollHeight - box.scrollTop - box.clientHeight;
    sticks.current = below < NEAR && !after && chat.goal.peek() === null;
    chat.atEnd = sticks.current;
    anchor.current = measure(box);
    chat.shown = anchor.current?.id ?? null;
    setAway(below > box.clientHeight / 2 || after);
    if (box.scrollTop < box.clientHeight * AHEAD) void chat.loadOlder();
    if (below < box.clientHeight * AHEAD) void chat.loadNewer();
    if (document.hidden || !document.hasFocus()) return;
    const rows = rowsOf(box);
    const { bottom } = box.getBoundingClientRect();
    const next = rowAt(rows, bottom + 1);
    // The last one whose end is in sight.
    const last = next === undefined ? rows[rows.length - 1] : previousRow(next);
    if (last !== undefined) chat.markRead(idOf(last));
  }

  function toEnd(): void {
    sticks.current = true;
    void chat.toNewest().then(() => {
      sticks.current = true;
      restore();
      look();
    });
  }

  function onKeyDown(event: KeyboardEvent): void {
    const box = list.current;
    if (box === null || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
    const at = (event.target as HTMLElement).closest<HTMLElement>("[data-message-id]");
    if (at === null || event.target !== at) {
      // From the list itself to what is in sight.
      if (event.target === box) {
        const { bottom } = box.getBoundingClientRect();
        const rows = rowsOf(box);
        const first = rowAt(rows, bottom - 1) ?? rows[rows.length - 1];
        first?.focus();
        event.preventDefault();
      }
      return;
    }
    const to = event.key === "ArrowUp" ? previousRow(at) : nextRow(at);
    to?.focus();
    event.preventDefault();
  }

  return (
    <section class="chat" aria-label={t("chat")}>
      {!connected.value && state === "ready" && (
        <p class="line-lost" role="status">
          {t("reconnecting")}
        </p>
      )}
      <div
        class="messages"
        role="log"
        aria-label={t("messages")}
        ref={list}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolled by keyboard
        tabIndex={0}
        onScroll={look}
        onKeyDown={onKeyDown}
      >
        {state === "loading" && <Spinner label={t("loading")} />}
        {state === "failed" && (
          <Empty icon="chat" title={t("history_failed")}>
            <button type="button" class="button" onClick={() => void chat.open(null)}>
              {t("try_again")}
            </button>
          </Empty>
        )}
        {state === "ready" && messages.length === 0 && pending.length === 0 && (
          <Empty icon="chat" title={t("chat_empty")} text={t("chat_empty_text")} />
        )}
        {state === "ready" && timeline.before && (
          <div class="older">
            {chat.loadingOlder.value ? (
              <Spinner label={t("loading")} />
            ) : (
              <button type="button" class="button small" onClick={() => void chat.loadOlder()}>
                {t("load_older")}
              </button>
            )}
          </div>
        )}
        <ol ref={content}>
          {messages.map((message, index) => {
            const previous = messages[index - 1];
            const newDay = previous === undefined || !sameDay(previous, message);
            const firstUnread =
              unreadFrom !== null && message.id >= unreadFrom && (previous?.id ?? 0) < unreadFrom;
            return (
              <MessageItem
                key={message.id}
                message={message}
                chat={chat}
                newDay={newDay}
                firstUnread={firstUnread && (previous !== undefined || !timeline.before)}
                grouped={!newDay && !firstUnread && together(previous, message)}
              />
            );
          })}
          {pending.map((entry) => (
            <PendingItem key={entry.clientId} entry={entry} />
          ))}
        </ol>
        {state === "ready" && timeline.after && chat.loadingNewer.value && <Spinner label={t("loading")} />}
      </div>
      <div class="chat-foot">
        {away && (
          <button
            type="button"
            class="to-end"
            aria-label={t("to_newest")}
            title={t("to_newest")}
            onClick={toEnd}
          >
            <Icon name="down" />
            {chat.unseen.value > 0 && (
              <span class="badge accent">{t("unseen_count", { count: chat.unseen.value })}</span>
            )}
          </button>
        )}
        <Composer
          chat={chat}
          room={room}
          onSend={() => {
            sticks.current = true;
          }}
        />
        <Typing chat={chat} />
      </div>
    </section>
  );
}

function sibling(
  row: HTMLElement,
  step: "previousElementSibling" | "nextElementSibling",
): HTMLElement | undefined {
  let at = row[step];
  while (at !== null && !(at instanceof HTMLElement && at.dataset.messageId !== undefined)) at = at[step];
  return (at as HTMLElement | null) ?? undefined;
}
const previousRow = (row: HTMLElement) => sibling(row, "previousElementSibling");
const nextRow = (row: HTMLElement) => sibling(row, "nextElementSibling");

const sameDay = (a: Message, b: Message): boolean =>
  a.created_at.slice(0, 13) === b.created_at.slice(0, 13) ||
  isSameDay(new Date(a.created_at), new Date(b.created_at));

function together(previous: Message | undefined, message: Message): boolean {
  return (
    previous?.author.id === message.author.id &&
    message.reply_to === null &&
    Date.parse(message.created_at) - Date.parse(previous.created_at) < GROUP_MS
  );
}

function Typing({ chat }: { chat: Chat }): JSX.Element {
  const names = [...chat.typing.value].map(([id, username]) =>
    nameOf(person(id) ?? { username, display_name: "" }),
  );
  const [first = "", second = ""] = names;
  return (
    <p class="typing" role="status">
      {names.length === 1 && t("typing_one", { name: first })}
      {names.length === 2 && t("typing_two", { first, second })}
      {names.length > 2 && t("typing_many")}
    </p>
  );
}
