// One room: its head, the chat, and beside it the call or what there is to know about the room.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Room } from "../api/types";
import { t } from "../i18n";
import { currentCall, startCall } from "../state/call";
import { Chat } from "../state/chat";
import { fetchRoom, rooms } from "../state/rooms";
import { me, session } from "../state/session";
import { explain } from "../state/toasts";
import { Dialog, Empty, IconButton, Spinner } from "../ui/components";
import { Icon } from "../ui/icons";
import { wide } from "../ui/width";
import { CallArea } from "./call";
import { ChatView } from "./chat/view";
import { Details } from "./details/about";
import { RoomAvatar, roomTitle } from "./sidebar";

export function RoomScreen({ id, message }: { id: number; message: number | null }): JSX.Element {
  const room = rooms.value.get(id);
  const asked = useSignal<"asking" | "answered" | { problem: string }>("asking");

  async function ask(): Promise<void> {
    asked.value = "asking";
    try {
      await fetchRoom(id);
      asked.value = "answered";
    } catch (error) {
      asked.value = { problem: explain(error) };
    }
  }
  // Once for each room
  useEffect(() => void ask(), [id]);

  if (room !== undefined) return <OpenRoom room={room} message={message} />;
  if (asked.value === "asking") return <Spinner label={t("loading")} />;
  const failed = asked.value === "answered" ? null : asked.value.problem;
  return (
    <Empty
      icon="hash"
      title={failed ?? t("room_gone")}
      text={failed === null ? t("room_gone_text") : undefined}
    >
      <div class="dialog-actions">
        <a class="button" href="#/">
          {t("to_rooms")}
        </a>
        {failed !== null && (
          <button type="button" class="button primary" onClick={() => void ask()}>
            {t("try_again")}
          </button>
        )}
      </div>
    </Empty>
  );
}

function OpenRoom({ room, message }: { room: Room; message: number | null }): JSX.Element {
  const [chat, setChat] = useState<Chat | null>(null);
  const [details, setDetails] = useState(false);
  const token = session.value?.token;
  const call = currentCall.value?.roomId === room.id ? currentCall.value.call : null;
  const docked = wide.value && call === null;

  useEffect(() => {
    if (token === undefined) return;
    const opened = new Chat(room.id, me().id, message);
    setChat(opened);
    return () => opened.close();
  }, [room.id, token]);

  // An address of another message in the same room
  useEffect(() => {
    if (message === null) return;
    setDetails(false);
    void chat?.open(message, true);
  }, [message]);

  const title = roomTitle(room, me().id);
  const others = room.active_call_participants.filter((name) => name !== me().username);
  return (
    <section class="room" aria-label={title}>
      <header class="room-head">
        <a class="icon-button plain back" href="#/" aria-label={t("to_rooms")} title={t("to_rooms")}>
          <Icon name="back" />
        </a>
        <RoomAvatar room={room} />
        <div class="room-title">
          <h2 class="ellipsis">{title}</h2>
          <span class="ellipsis">
            {room.topic ||
              (room.is_direct ? t("direct_message") : t("members_count", { count: room.participant_count }))}
          </span>
        </div>
        {call === null && (
          <>
            <IconButton icon="phone" label={t("start_voice")} onClick={() => startCall(room.id, false)} />
            <IconButton icon="camera" label={t("start_video")} onClick={() => startCall(room.id, true)} />
          </>
        )}
        {!docked && <IconButton icon="people" label={t("about_room")} onClick={() => setDetails(true)} />}
      </header>
      {call === null && others.length > 0 && (
        <div class="call-invite" role="status">
          <span>{t("call_going_on", { names: others.join(", ") })}</span>
          <button type="button" class="button primary small" onClick={() => startCall(room.id)}>
            {t("join_call")}
          </button>
        </div>
      )}
      <div class={`room-body${call !== null ? " with-call" : ""}${docked ? " with-details" : ""}`}>
        {call !== null && <CallArea call={call} />}
        {chat !== null && <ChatView key={chat.roomId} chat={chat} room={room} />}
        {docked && (
          <aside class="details-dock" aria-label={t("about_room")}>
            <Details room={room} />
          </aside>
        )}
      </div>
      {details && !docked && (
        <Dialog title={title} onClose={() => setDetails(false)}>
          <Details room={room} />
        </Dialog>
      )}
    </section>
  );
}
