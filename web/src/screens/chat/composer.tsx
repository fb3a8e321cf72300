// The field to write in: text with completed mentions, files by button, drop and paste, an answer or a change.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Room } from "../../api/types";
import { t } from "../../i18n";
import type { Chat } from "../../state/chat";
import { nameOf } from "../../state/people";
import { me, serverConfig } from "../../state/session";
import { IconButton } from "../../ui/components";
import { EmojiPicker } from "../../ui/emoji";
import { Icon } from "../../ui/icons";
import { completionAt, type Suggestion, Suggestions, suggest } from "./mentions";
import { Tray, Uploads } from "./uploads";

/** What was written and not sent, by room, as long as the page lives. */
const drafts = new Map<number, string>();
/** Signs that Ctrl and a letter put around what is selected. */
const WRAPS: Record<string, string> = { b: "**", i: "*", e: "`" };

export function Composer({
  chat,
  room,
  onSend,
}: {
  chat: Chat;
  room: Room;
  onSend: () => void;
}): JSX.Element {
  const [text, setText] = useState(drafts.get(chat.roomId) ?? "");
  const [uploads] = useState(() => new Uploads());
  const [picking, pick] = useState(false);
  const suggestions = useSignal<{ found: readonly Suggestion[]; at: number; from: number } | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const form = useRef<HTMLFormElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const editing = chat.editing.value;
  const replyTo = chat.replyTo.value;
  const files = uploads.entries.value;
  const limit = serverConfig.value?.limits.message_length;
  const ready = files.every((entry) => entry.file !== null);
  const sendable =
    editing !== null
      ? text.trim() !== "" || editing.attachments.length > 0
      : text.trim() !== "" || files.length > 0;

  useEffect(() => () => uploads.clear(), [uploads]);

  // The text of what is changed takes the place of the draft, and gives it back
  useEffect(() => {
    setText(editing === null ? (drafts.get(chat.roomId) ?? "") : editing.content);
    if (editing !== null || replyTo !== null) area.current?.focus();
  }, [editing?.id, replyTo?.id, chat.roomId]);

  // The height follows the text
  useLayoutEffect(() => {
    const field = area.current;
    if (field === null) return;
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
  }, [text]);

  // Files that are dropped anywhere on the chat
  const [dropping, setDropping] = useState(false);
  useEffect(() => {
    const zone = form.current?.closest<HTMLElement>(".chat");
    if (!zone) return;
    const carries = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!carries(event)) return;
      event.preventDefault();
      setDropping(true);
    };
    const leave = (event: DragEvent) => {
      if (!zone.contains(event.relatedTarget as Node | null)) setDropping(false);
    };
    const drop = (event: DragEvent) => {
      if (!carries(event)) return;
      event.preventDefault();
      setDropping(false);
      uploads.add(event.dataTransfer?.files ?? []);
      area.current?.focus();
    };
    zone.addEventListener("dragover", over);
    zone.addEventListener("dragleave", leave);
    zone.addEventListener("drop", drop);
    return () => {
      zone.removeEventListener("dragover", over);
      zone.removeEventListener("dragleave", leave);
      zone.removeEventListener("drop", drop);
    };
  }, [uploads]);

  function write(value: string): void {
    if (editing === null) {
      drafts.set(chat.roomId, value);
      chat.typed(value.trim() !== "");
    }
    setText(value);
  }

  function offer(field: HTMLTextAreaElement): void {
    const begun = completionAt(field.value, field.selectionStart);
    const found = begun === null ? [] : suggest(room, me().id, begun.sought);
    suggestions.value = begun === null || found.length === 0 ? null : { found, at: 0, from: begun.from };
  }

  /** Puts text in place of what stands between two places of the field. */
  function insert(value: string, from: number, to: number): void {
    const field = area.current;
    if (field === null) return;
    write(text.slice(0, from) + value + text.slice(to));
    const end = from + value.length;
    requestAnimationFrame(() => {
      field.focus();
      field.setSelectionRange(end, end);
    });
  }

  function choose(suggestion: Suggestion): void {
    const open = suggestions.peek();
    suggestions.value = null;
    if (open !== null) insert(`@${suggestion.name} `, open.from, area.current?.selectionStart ?? text.length);
  }

  async function send(): Promise<void> {
    const value = text.trim();
    if (!sendable) return;
    if (editing !== null) {
      if (value !== editing.content && !(await chat.saveEdit(editing, value))) return;
      chat.editing.value = null;
      return;
    }
    if (!ready) return;
    onSend();
    drafts.delete(chat.roomId);
    setText("");
    chat.send(value, uploads.take());
  }

  function onKeyDown(event: KeyboardEvent): void {
    // A key that only ends a composed character (IME) does nothing else.
    if (event.isComposing) return;
    const open = suggestions.peek();
    if (open !== null) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const chosen = open.found[open.at];
      if (step !== undefined)
        suggestions.value = { ...open, at: (open.at + step + open.found.length) % open.found.length };
      else if ((event.key === "Enter" || event.key === "Tab") && chosen !== undefined) choose(chosen);
      else if (event.key === "Escape") suggestions.value = null;
      else return;
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    const wrap =
      (event.ctrlKey || event.metaKey) && !event.altKey ? WRAPS[event.key.toLowerCase()] : undefined;
    if (wrap !== undefined && area.current !== null) {
      const { selectionStart: from, selectionEnd: to } = area.current;
      const chosen = text.slice(from, to);
      insert(wrap + chosen + wrap, from, to);
      if (chosen === "") {
        const inside = from + wrap.length;
        requestAnimationFrame(() =>
          requestAnimationFrame(() => area.current?.setSelectionRange(inside, inside)),
        );
      }
    } else if (event.key === "Enter" && !event.shiftKey) void send();
    else if (event.key === "Escape" && (editing !== null || replyTo !== null)) {
      chat.editing.value = null;
      chat.replyTo.value = null;
    } else if (event.key === "ArrowUp" && text === "" && editing === null) {
      const mine = chat.timeline.peek().messages.findLast((message) => message.author.id === me().id);
      if (mine === undefined) return;
      chat.editing.value = mine;
    } else return;
    event.preventDefault();
  }

  const open = suggestions.value;
  return (
    <form
      ref={form}
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
        area.current?.focus();
      }}
    >
      {dropping && (
        <div class="drop-zone">
          <Icon name="attach" />
          {t("drop_files")}
        </div>
      )}
      {(editing ?? replyTo) !== null && (
        <div class="composer-note">
          <Icon name={editing !== null ? "edit" : "reply"} small />
          <span class="ellipsis">
            {editing !== null
              ? t("editing_message")
              : t("replying_to", { name: nameOf(replyTo?.author ?? me()) })}
            {replyTo !== null && <span class="hint"> {replyTo.content.replace(/\s+/g, " ")}</span>}
          </span>
          <IconButton
            icon="close"
            label={t("cancel")}
            onClick={() => {
              chat.editing.value = null;
              chat.replyTo.value = null;
            }}
          />
        </div>
      )}
      <Tray uploads={uploads} />
      {open !== null && <Suggestions id="mention-list" found={open.found} at={open.at} onChoose={choose} />}
      <div class="composer-row">
        {editing === null && (
          <>
            <input
              ref={picker}
              type="file"
              multiple
              hidden
              aria-label={t("attach")}
              onChange={(event) => {
                uploads.add(event.currentTarget.files ?? []);
                event.currentTarget.value = "";
                area.current?.focus();
              }}
            />
            <IconButton icon="attach" label={t("attach")} onClick={() => picker.current?.click()} />
          </>
        )}
        <textarea
          ref={area}
          rows={1}
          value={text}
          aria-label={t("write_message")}
          placeholder={t("write_message")}
          maxLength={limit}
          aria-controls={open === null ? undefined : "mention-list"}
          aria-autocomplete="list"
          aria-activedescendant={open === null ? undefined : `mention-list-${open.at}`}
          onInput={(event) => {
            write(event.currentTarget.value);
            offer(event.currentTarget);
          }}
          onClick={(event) => offer(event.currentTarget)}
          onBlur={() => {
            suggestions.value = null;
          }}
          onPaste={(event) => {
            const pasted = event.clipboardData?.files;
            if (editing !== null || pasted === undefined || pasted.length === 0) return;
            event.preventDefault();
            uploads.add(pasted);
          }}
          onKeyDown={onKeyDown}
        />
        <span class="only-roomy">
          <IconButton icon="smile" label={t("emoji")} onClick={() => pick(true)} />
        </span>
        <button
          type="submit"
          class="icon-button filled"
          aria-label={t(editing === null ? "send" : "save")}
          title={t(editing === null ? "send" : "save")}
          disabled={!sendable || !ready}
        >
          <Icon name={editing === null ? "send" : "check"} />
        </button>
      </div>
      {picking && form.current !== null && (
        <EmojiPicker
          home={form.current}
          onClose={() => pick(false)}
          onPick={(emoji) => {
            pick(false);
            const at = area.current?.selectionStart ?? text.length;
            insert(emoji, at, area.current?.selectionEnd ?? at);
          }}
        />
      )}
    </form>
  );
}
