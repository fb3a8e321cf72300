// The list of rooms, with what is unread and who is in a call, and the user's own corner beneath it.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import type { Room } from "../api/types";
import { t } from "../i18n";
import { navigate, roomPath, route } from "../router";
import { currentCall } from "../state/call";
import { loadMoreRooms, moreRooms, putRoom, refreshRooms, roomsState, sortedRooms } from "../state/rooms";
import { api, me, serverConfig, signOut } from "../state/session";
import { explain, report } from "../state/toasts";
import { Avatar, Dialog, Empty, Field, IconButton, LanguageSwitch, Spinner } from "../ui/components";
import { Icon } from "../ui/icons";

/** A direct room is called by the name of the other person. */
export function roomTitle(room: Room, myId: number): string {
  const other = room.is_direct ? room.participant_users.find((user) => user.id !== myId) : undefined;
  return other === undefined ? room.name : other.display_name || other.username;
}

export function Sidebar(): JSX.Element {
  const [creating, setCreating] = useState(false);
  const user = me();
  return (
    <aside class="sidebar">
      <header class="sidebar-head">
        <h1 class="brand">
          <span class="brand-mark" aria-hidden="true" />
          {t("app_name")}
        </h1>
        <IconButton icon="plus" label={t("new_room")} onClick={() => setCreating(true)} />
      </header>
      <RoomList onCreate={() => setCreating(true)} />
      <footer class="sidebar-foot">
        <Avatar name={user.display_name || user.username} seed={user.username} />
        <span class="who">
          <span class="who-name">{user.display_name || user.username}</span>
          {user.is_admin && <span class="who-note">{t("administrator")}</span>}
        </span>
        <LanguageSwitch />
        <IconButton icon="signOut" label={t("sign_out")} onClick={() => signOut().catch(report)} />
      </footer>
      {creating && <NewRoom onClose={() => setCreating(false)} />}
    </aside>
  );
}

function RoomList({ onCreate }: { onCreate: () => void }): JSX.Element {
  const rooms = sortedRooms.value;
  if (roomsState.value === "loading") return <Spinner label={t("loading")} />;
  if (roomsState.value === "failed" && rooms.length === 0) {
    return (
      <Empty icon="hash" title={t("rooms_failed")}>
        <button type="button" class="button" onClick={() => void refreshRooms()}>
          {t("try_again")}
        </button>
      </Empty>
    );
  }
  if (rooms.length === 0) {
    return (
      <Empty icon="hash" title={t("rooms_empty")} text={t("rooms_empty_text")}>
        <button type="button" class="button primary" onClick={onCreate}>
          {t("new_room")}
        </button>
      </Empty>
    );
  }
  return (
    <nav class="rooms" aria-label={t("rooms")}>
      <ul>
        {rooms.map((room) => (
          <RoomItem key={room.id} room={room} />
        ))}
      </ul>
      {moreRooms.value && <More />}
    </nav>
  );
}

/** The end of the list: when it comes into sight, more is fetched. */
function More(): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) void loadMoreRooms();
    });
    if (element.current !== null) observer.observe(element.current);
    return () => observer.disconnect();
  }, [sortedRooms.value.length]);
  return (
    <div ref={element}>
      <Spinner label={t("loading")} />
    </div>
  );
}

function RoomItem({ room }: { room: Room }): JSX.Element {
  const here = route.value.name === "room" && route.value.id === room.id;
  const title = roomTitle(room, me().id);
  const inCall = room.active_call_participants;
  const joined = currentCall.value?.roomId === room.id;
  return (
    <li>
      <a
        class={`room-item${room.unread_count > 0 ? " unread" : ""}`}
        href={roomPath(room.id)}
        aria-current={here ? "page" : undefined}
      >
        <Avatar name={title} seed={room.is_direct ? title : `room ${room.id}`} room={!room.is_direct} />
        <span class="room-item-text">
          <span class="room-item-name">
            {title}
            {room.is_pinned && (
              <span class="room-sign" title={t("pinned")}>
                <Icon name="pin" />
                <span class="visually-hidden">{t("pinned")}</span>
              </span>
            )}
          </span>
          {inCall.length > 0 ? (
            <span class={`room-item-call${joined ? " joined" : ""}`}>
              <Icon name="phone" />
              <span class="visually-hidden">{t("in_call")}</span>
              <span class="ellipsis">{inCall.join(", ")}</span>
            </span>
          ) : (
            <span class="room-item-note">
              {room.is_direct ? t("direct_message") : t("members_count", { count: room.participant_count })}
            </span>
          )}
        </span>
        {room.unread_count > 0 && (
          <span class="badge accent">
            <span aria-hidden="true">{room.unread_count > 99 ? "99+" : room.unread_count}</span>
            <span class="visually-hidden">{t("unread_count", { count: room.unread_count })}</span>
          </span>
        )}
      </a>
    </li>
  );
}

function NewRoom({ onClose }: { onClose: () => void }): JSX.Element {
  return (
    <RoomNameDialog
      title={t("new_room")}
      action={t("create")}
      initial=""
      onClose={onClose}
      onSave={async (name) => {
        const room = await api.createRoom(name);
        putRoom(room);
        onClose();
        navigate(roomPath(room.id));
      }}
    />
  );
}

export function RoomNameDialog(props: {
  title: string;
  action: string;
  initial: string;
  onClose: () => void;
  onSave: (name: string) => Promise<void>;
}): JSX.Element {
  const [name, setName] = useState(props.initial);
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function save(): Promise<void> {
    if (name.trim() === "") return setProblem(t("field_required"));
    setBusy(true);
    try {
      await props.onSave(name.trim());
    } catch (error) {
      setProblem((error instanceof ApiError && error.fields.name) || explain(error));
      setBusy(false);
    }
  }

  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void save();
        }}
      >
        <Field
          label={t("room_name")}
          name="name"
          value={name}
          onInput={(value) => {
            setName(value);
            setProblem(undefined);
          }}
          error={problem}
          maxLength={serverConfig.value?.limits.room_name_length}
          required
          autofocus
        />
        <div class="dialog-actions">
          <button type="button" class="button" onClick={props.onClose}>
            {t("cancel")}
          </button>
          <button type="submit" class="button primary" disabled={busy}>
            {props.action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
