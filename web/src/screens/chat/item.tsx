// One message: who, when, what; what it answers, what is attached, how others reacted, and what one may do with it.

import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import type { Message, Reply } from "../../api/types";
import { formatDay, formatFull, formatTime, t } from "../../i18n";
import type { Chat } from "../../state/chat";
import { discard, type Pending, retry } from "../../state/outbox";
import { avatarOf, nameOf, person } from "../../state/people";
import { may } from "../../state/rights";
import { rooms } from "../../state/rooms";
import { me } from "../../state/session";
import { Avatar, Confirm, IconButton, Menu } from "../../ui/components";
import { copyText } from "../../ui/copy";
import { EmojiPicker, QUICK } from "../../ui/emoji";
import { Icon } from "../../ui/icons";
import { MessageText } from "../../ui/text";
import { Files } from "./files";

/** Names that are mentions in this message, and which of them is the reader's. */
function useMentions(message: Message): ReadonlyMap<string, boolean> {
  const myId = me().id;
  const names = message.mentions.map((id) => person(id)?.username.toLowerCase() ?? "").join(" ");
  return useMemo(() => {
    const known = new Map<string, boolean>();
    message.mentions.forEach((id, at) => {
      known.set(names.split(" ")[at] ?? "", id === myId);
    });
    if (message.mentions_all) known.set("all", true);
    return known;
  }, [message, names, myId]);
}

/** Whether one may delete what somebody else wrote (docs/rights.md). */
function mayModerate(message: Message): boolean {
  const room = rooms.value.get(message.room);
  if (room === undefined || room.is_direct) return false;
  // Whether the other is a moderator, too, the server knows; it says so.
  return room.role === "owner" || (room.role === "moderator" && room.owner.id !== message.author.id);
}

function mayPin(message: Message): boolean {
  const room = rooms.value.get(message.room);
  // As the topic.
  return room !== undefined && may(room, "topic");
}

export function MessageItem(props: {
  message: Message;
  chat: Chat;
  grouped: boolean;
  newDay: boolean;
  firstUnread: boolean;
}): JSX.Element {
  const { message, chat, grouped } = props;
  const [active, setActive] = useState(false);
  // These outlast the pointer that leaves the row.
  const [picking, pick] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const row = useRef<HTMLLIElement>(null);
  const known = useMentions(message);
  const myId = me().id;
  const own = message.author.id === myId;
  const name = nameOf(message.author);
  const at = new Date(message.created_at);
  const editing = chat.editing.value?.id === message.id;
  const mine = !own && (message.mentions_all || message.mentions.includes(myId));
  return (
    <>
      {props.newDay && (
        <li class="day">
          <span>{formatDay(at)}</span>
        </li>
      )}
      {props.firstUnread && (
        <li class="unread-line">
          <span>{t("new_messages")}</span>
        </li>
      )}
      <li
        ref={row}
        class={`message${grouped ? " grouped" : ""}${mine ? " mentions-me" : ""}${editing ? " edited-now" : ""}`}
        data-message-id={message.id}
        tabIndex={-1}
        onPointerEnter={(event) => event.pointerType === "mouse" && setActive(true)}
        onPointerLeave={(event) => event.pointerType === "mouse" && setActive(false)}
        onFocusIn={() => setActive(true)}
        onFocusOut={(event) => {
          if (!row.current?.contains(event.relatedTarget as Node | null)) setActive(false);
        }}
      >
        {grouped ? (
          <time class="gutter" dateTime={message.created_at} title={formatFull(at)}>
            {formatTime(at)}
          </time>
        ) : (
          <Avatar
            name={name}
            seed={message.author.username}
            src={message.author.avatar_url || avatarOf(message.author.id)}
          />
        )}
        <div class="message-body">
          {!grouped && (
            <p class="byline">
              <span class="author">{name}</span>
              <time dateTime={message.created_at} title={formatFull(at)}>
                {formatTime(at)}
              </time>
            </p>
          )}
          {message.reply_to !== null && (
            <Quoted reply={message.reply_to} onOpen={(id) => void chat.open(id, true)} />
          )}
          {message.content !== "" && <MessageText content={message.content} known={known} />}
          {chat.pins.value.has(message.id) && (
            <span class="edited">
              <Icon name="pin" small /> {t("pinned_message")}
            </span>
          )}
          {message.edited_at !== null && (
            <span class="edited" title={formatFull(new Date(message.edited_at))}>
              {t("edited")}
            </span>
          )}
          {message.attachments.length > 0 && <Files message={message} chat={chat} />}
          {message.reactions.length > 0 && <Reactions message={message} chat={chat} />}
        </div>
        {own && <Ticks message={message} />}
        {(active || picking) && !editing && (
          <Actions
            message={message}
            chat={chat}
            own={own}
            onPick={() => pick(true)}
            onDelete={() => setDeleting(true)}
          />
        )}
        {picking && row.current !== null && (
          <EmojiPicker
            home={row.current}
            onClose={() => pick(false)}
            onPick={(emoji) => {
              pick(false);
              void chat.react(message, emoji);
            }}
          />
        )}
        {deleting && (
          <Confirm
            title={t("delete_message")}
            text={t("delete_message_text")}
            action={t("delete")}
            onClose={() => setDeleting(false)}
            onConfirm={async () => {
              await chat.remove(message);
              setDeleting(false);
            }}
          />
        )}
      </li>
    </>
  );
}

/** What a message answers; leads to it. */
export function Quoted({ reply, onOpen }: { reply: Reply; onOpen?: (id: number) => void }): JSX.Element {
  if (reply.deleted || reply.author === null) {
    return (
      <p class="quoted">
        <Icon name="reply" small />
        <span class="ellipsis">{t("deleted_message")}</span>
      </p>
    );
  }
  const { author, id } = reply;
  return (
    <button type="button" class="quoted" title={t("go_to_answered")} onClick={() => onOpen?.(id)}>
      <Icon name="reply" small />
      <span class="visually-hidden">{t("answers")} </span>
      <strong class="ellipsis">{nameOf(author)}</strong>
      <span class="ellipsis">{reply.excerpt.replace(/\s+/g, " ") || t("attachment")}</span>
    </button>
  );
}

function Reactions({ message, chat }: { message: Message; chat: Chat }): JSX.Element {
  const myId = me().id;
  return (
    <ul class="reactions">
      {message.reactions.map(({ emoji, user_ids: users }) => {
        const names = users.map((id) => (id === myId ? t("you_alone") : nameOf(person(id) ?? SOMEBODY)));
        const who = t("reacted_by", { names: names.join(", ") });
        return (
          <li key={emoji}>
            <button
              type="button"
              aria-pressed={users.includes(myId)}
              title={who}
              onClick={() => void chat.react(message, emoji)}
            >
              <span>{emoji}</span> <span>{users.length}</span> <span class="visually-hidden">{who}</span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

const SOMEBODY = { username: "?", display_name: "" };

/** Whether one's own message has been read, and by whom. */
function Ticks({ message }: { message: Message }): JSX.Element {
  const readers = message.read_by_ids.filter((id) => id !== message.author.id);
  const names = readers.slice(0, 20).map((id) => nameOf(person(id) ?? SOMEBODY));
  const label = readers.length === 0 ? t("delivered") : t("read_by", { names: names.join(", ") });
  return (
    <span class={readers.length === 0 ? "ticks" : "ticks read"} title={label}>
      <Icon name={readers.length === 0 ? "check" : "checks"} small />
      <span class="visually-hidden">{label}</span>
    </span>
  );
}

function Actions(props: {
  message: Message;
  chat: Chat;
  own: boolean;
  onPick: () => void;
  onDelete: () => void;
}): JSX.Element {
  const { message, chat, own } = props;
  const answer = () => {
    chat.editing.value = null;
    chat.replyTo.value = message;
  };
  const edit = () => {
    chat.replyTo.value = null;
    chat.editing.value = message;
  };
  return (
    <div class="message-actions" role="toolbar" aria-label={t("message_actions")}>
      {QUICK.map((emoji) => (
        <button
          key={emoji}
          type="button"
          class="icon-button quick"
          aria-label={t("react_with", { emoji })}
          title={t("react_with", { emoji })}
          onClick={() => void chat.react(message, emoji)}
        >
          {emoji}
        </button>
      ))}
      <IconButton icon="smile" label={t("react")} onClick={props.onPick} />
      <IconButton icon="reply" label={t("reply")} onClick={answer} />
      <Menu
        label={t("more_actions")}
        items={() => [
          own && { icon: "edit", text: t("edit"), onClick: edit },
          message.content !== "" && {
            icon: "copy",
            text: t("copy_text"),
            onClick: () => void copyText(message.content),
          },
          {
            icon: "link",
            text: t("copy_link"),
            onClick: () =>
              void copyText(`${location.origin}${location.pathname}#/room/${message.room}/${message.id}`),
          },
          mayPin(message) && {
            icon: "pin",
            text: t(chat.pins.peek().has(message.id) ? "unpin_message" : "pin_message"),
            onClick: () => void chat.pin(message),
          },
          (own || mayModerate(message)) && {
            icon: "trash",
            text: t("delete"),
            danger: true,
            onClick: props.onDelete,
          },
        ]}
      >
        <Icon name="more" />
      </Menu>
    </div>
  );
}

/** One that the server does not have yet. */
export function PendingItem({ entry }: { entry: Pending }): JSX.Element {
  const user = me();
  return (
    <li class={`message pending${entry.problem === null ? "" : " failed"}`}>
      <Avatar name={nameOf(user)} seed={user.username} src={user.avatar_url} />
      <div class="message-body">
        <p class="byline">
          <span class="author">{nameOf(user)}</span>
          {entry.problem === null && <span>{t("sending")}</span>}
        </p>
        {entry.reply !== null && <Quoted reply={entry.reply} />}
        {entry.content !== "" && <MessageText content={entry.content} />}
        {entry.files.map((file) => (
          <p key={file.id} class="hint">
            {file.name}
          </p>
        ))}
        {entry.problem !== null && (
          <p class="failed-actions" role="alert">
            <span>{t("not_sent_because", { problem: entry.problem })}</span>
            <button type="button" class="link" onClick={() => retry(entry.clientId)}>
              {t("try_again")}
            </button>
            <button type="button" class="link" onClick={() => discard(entry.clientId)}>
              {t("discard")}
            </button>
          </p>
        )}
      </div>
    </li>
  );
}
