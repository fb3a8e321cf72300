// The messages of a room and the field to write in.

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Message } from "../api/types";
import { formatDay, formatFull, formatTime, isSameDay, t } from "../i18n";
import type { Chat } from "../state/chat";
import type { Pending } from "../state/messages";
import { me, serverConfig } from "../state/session";
import { Avatar, Empty, IconButton, Spinner } from "../ui/components";
import { Icon } from "../ui/icons";
import { linkify } from "../ui/linkify";

/** Messages of one author within so long stand together. */
const GROUP_MS = 5 * 60_000;
/** Pixels from the edge that still count as being there. */
const NEAR = 80;

export function ChatView({ chat }: { chat: Chat }): JSX.Element {
  const { messages, pending, complete } = chat.timeline.value;
  const state = chat.state.value;
  const list = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  /** Height and first message at the last drawing, to keep the place when older ones come in above. */
  const before = useRef({ height: 0, first: 0 });
  const [below, setBelow] = useState(false);
  const first = messages[0]?.id ?? 0;
  const last = messages.at(-1)?.id ?? 0;

  // Runs when the list has grown at either end
  useLayoutEffect(() => {
    const box = list.current;
    if (box === null) return;
    if (atEnd.current) box.scrollTop = box.scrollHeight;
    else if (first < before.current.first) box.scrollTop += box.scrollHeight - before.current.height;
    before.current = { height: box.scrollHeight, first };
  }, [first, last, pending.length, state, chat.loadingOlder.value]);

  useEffect(() => {
    const box = list.current;
    if (box === null) return;
    // A keyboard that opens, a call that begins: the end stays in sight.
    const observer = new ResizeObserver(() => {
      if (atEnd.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(box);
    return () => observer.disconnect();
  }, []);

  // Runs when there is more to have read
  useEffect(() => {
    const read = () => {
      if (!document.hidden && document.hasFocus() && atEnd.current) chat.markRead();
    };
    read();
    document.addEventListener("visibilitychange", read);
    window.addEventListener("focus", read);
    return () => {
      document.removeEventListener("visibilitychange", read);
      window.removeEventListener("focus", read);
    };
  }, [chat, last, below, chat.socket.connected.value]);

  function onScroll(box: HTMLDivElement): void {
    atEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
    setBelow(!atEnd.current);
    if (box.scrollTop < NEAR * 4) void chat.loadOlder();
  }

  return (
    <section class="chat" aria-label={t("chat")}>
      {!chat.socket.connected.value && state === "ready" && (
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
        onScroll={(event) => onScroll(event.currentTarget)}
      >
        {state === "loading" && <Spinner label={t("loading")} />}
        {state === "failed" && (
          <Empty icon="chat" title={t("history_failed")}>
            <button type="button" class="button" onClick={() => void chat.load()}>
              {t("try_again")}
            </button>
          </Empty>
        )}
        {state === "ready" && messages.length === 0 && pending.length === 0 && (
          <Empty icon="chat" title={t("chat_empty")} text={t("chat_empty_text")} />
        )}
        {state === "ready" && !complete && (
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
        <ol>
          {messages.map((message, index) => (
            <MessageItem key={message.id} message={message} previous={messages[index - 1]} />
          ))}
          {pending.map((entry) => (
            <PendingItem key={`pending-${entry.key}`} entry={entry} chat={chat} />
          ))}
        </ol>
      </div>
      {below && (
        <div class="to-end">
          <IconButton
            icon="down"
            label={t("to_newest")}
            tone="filled"
            onClick={() => {
              list.current?.scrollTo({ top: list.current.scrollHeight });
            }}
          />
        </div>
      )}
      <Composer
        chat={chat}
        onSend={() => {
          atEnd.current = true;
        }}
      />
    </section>
  );
}

function MessageItem({
  message,
  previous,
}: {
  message: Message;
  previous: Message | undefined;
}): JSX.Element {
  const at = new Date(message.created_at);
  const before = previous === undefined ? null : new Date(previous.created_at);
  const newDay = before === null || !isSameDay(at, before);
  const grouped =
    !newDay &&
    previous?.author.id === message.author.id &&
    at.getTime() - (before?.getTime() ?? 0) < GROUP_MS;
  const own = message.author.id === me().id;
  const name = message.author.display_name || message.author.username;
  return (
    <>
      {newDay && (
        <li class="day">
          <span>{formatDay(at)}</span>
        </li>
      )}
      <li class={`message${own ? " own" : ""}${grouped ? " grouped" : ""}`} data-message-id={message.id}>
        {!own &&
          (grouped ? <span class="avatar-gap" /> : <Avatar name={name} seed={message.author.username} />)}
        <div class="bubble">
          {!own && !grouped && <span class="author">{name}</span>}
          {own && <span class="visually-hidden">{t("you")}</span>}
          <div class="line">
            <MessageText content={message.content} />
            <time dateTime={message.created_at} title={formatFull(at)}>
              {formatTime(at)}
            </time>
          </div>
        </div>
      </li>
    </>
  );
}

function PendingItem({ entry, chat }: { entry: Pending; chat: Chat }): JSX.Element {
  return (
    <li class={`message own pending${entry.failed ? " failed" : ""}`}>
      <div class="bubble line">
        <MessageText content={entry.content} />
        {entry.failed ? (
          <span class="failed-actions">
            <span>{t("not_sent")}</span>
            <button type="button" class="link" onClick={() => void chat.retry(entry.key)}>
              {t("try_again")}
            </button>
            <button type="button" class="link" onClick={() => chat.discard(entry.key)}>
              {t("discard")}
            </button>
          </span>
        ) : (
          <time>{t("sending")}</time>
        )}
      </div>
    </li>
  );
}

function MessageText({ content }: { content: string }): JSX.Element {
  return (
    <span class="text">
      {linkify(content).map((part, index) =>
        part.href === undefined ? (
          part.text
        ) : (
          <a key={index} href={part.href} target="_blank" rel="noopener noreferrer">
            {part.text}
          </a>
        ),
      )}
    </span>
  );
}

/** What was written and not sent, by room, as long as the page lives. */
const drafts = new Map<number, string>();

function Composer({ chat, onSend }: { chat: Chat; onSend: () => void }): JSX.Element {
  const [text, setText] = useState(drafts.get(chat.roomId) ?? "");
  const area = useRef<HTMLTextAreaElement>(null);

  function write(value: string): void {
    drafts.set(chat.roomId, value);
    setText(value);
  }

  // The height follows the text
  useLayoutEffect(() => {
    const field = area.current;
    if (field === null) return;
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
  }, [text]);

  function send(): void {
    const content = text.trim();
    if (content === "") return;
    onSend();
    write("");
    void chat.send(content);
  }

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
        area.current?.focus();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        value={text}
        aria-label={t("write_message")}
        placeholder={t("write_message")}
        maxLength={serverConfig.value?.limits.message_length}
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={(event) => {
          // Enter that only ends a composed character (IME) sends nothing.
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      <button
        type="submit"
        class="icon-button filled"
        aria-label={t("send")}
        title={t("send")}
        disabled={text.trim() === ""}
      >
        <Icon name="send" />
      </button>
    </form>
  );
}
