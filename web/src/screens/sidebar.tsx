// The list of rooms, with what is unread and who is in a call, and the user's own corner beneath it.

import type { JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import type { Room, RoomUser } from "../api/types";
import { t } from "../i18n";
import { navigate, roomPath, route } from "../router";
import { currentCall } from "../state/call";
import { avatarOf, isOnline, nameOf } from "../state/people";
import { loadMoreRooms, moreRooms, putRoom, refreshRooms, roomsState, sortedRooms } from "../state/rooms";
import { api, me, serverConfig, signOut } from "../state/session";
import { explain, report } from "../state/toasts";
import { Avatar, Dialog, Empty, Field, IconButton, Spinner } from "../ui/components";
import { Icon, type IconName } from "../ui/icons";

/** A direct room is called by the name of the other person. */
export function roomTitle(room: Room, myId: number): string {
  const other = otherOf(room, myId);
  return other === undefined ? room.name : nameOf(other);
}

export function Sidebar(): JSX.Element {
  const [creating, setCreating] = useState(false);
  return (
    <aside class="sidebar" aria-label={t("sidebar")}>
      <header class="sidebar-head">
        <h1 class="brand">
          <span class="brand-mark" aria-hidden="true" />
          {t("app_name")}
        </h1>
        <IconButton icon="plus" label={t("new_room")} onClick={() => setCreating(true)} />
      </header>
      <Places />
      <RoomList onCreate={() => setCreating(true)} />
      <SidebarFoot />
      {creating && <NewRoom onClose={() => setCreating(false)} />}
    </aside>
  );
}

/** What is not a room. */
function Places(): JSX.Element {
  const here = route.value.name;
  const places = [
    { name: "search", icon: "search", text: t("search") },
    { name: "mentions", icon: "at", text: t("place_mentions") },
    { name: "explore", icon: "compass", text: t("explore") },
    ...(me().is_admin ? ([{ name: "admin", icon: "admin", text: t("admin") }] as const) : []),
  ] as const;
  return (
    <nav class="places" aria-label={t("places")}>
      {places.map(({ name, icon, text }) => (
        <a key={name} href={`#/${name}`} aria-current={here === name ? "page" : undefined}>
          <Icon name={icon} />
          <span class="ellipsis">{text}</span>
        </a>
      ))}
    </nav>
  );
}

function SidebarFoot(): JSX.Element {
  const user = me();
  return (
    <footer class="sidebar-foot">
      <a
        class="row action me"
        href="#/settings"
        title={t("settings")}
        aria-current={route.value.name === "settings" ? "page" : undefined}
      >
        <Avatar name={nameOf(user)} seed={user.username} src={user.avatar_url} />
        <span class="who">
          <span class="who-name">{nameOf(user)}</span>
          <span class="who-note">{user.is_admin ? t("administrator") : `@${user.username}`}</span>
        </span>
        <Icon name="settings" />
        <span class="visually-hidden">{t("settings")}</span>
      </a>
      <IconButton icon="signOut" label={t("sign_out")} onClick={() => signOut().catch(report)} />
    </footer>
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
  const pinned = rooms.filter((room) => room.is_pinned);
  const direct = rooms.filter((room) => !room.is_pinned && room.is_direct);
  const others = rooms.filter((room) => !room.is_pinned && !room.is_direct);
  return (
    <nav class="rooms" aria-label={t("rooms")}>
      <Section title={t("pinned_rooms")} rooms={pinned} />
      <Section title={t("rooms")} rooms={others} />
      <Section title={t("direct_messages")} rooms={direct} />
      {moreRooms.value && <More />}
    </nav>
  );
}

function Section({ title, rooms }: { title: string; rooms: readonly Room[] }): JSX.Element | null {
  const heading = useId();
  if (rooms.length === 0) return null;
  return (
    <>
      <h2 id={heading}>{title}</h2>
      <ul aria-labelledby={heading}>
        {rooms.map((room) => (
          <RoomItem key={room.id} room={room} />
        ))}
      </ul>
    </>
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

/** The other person of a direct room. */
export function otherOf(room: Room, myId: number): RoomUser | undefined {
  return room.is_direct ? room.participant_users.find((user) => user.id !== myId) : undefined;
}

export function RoomAvatar({ room }: { room: Room }): JSX.Element {
  const title = roomTitle(room, me().id);
  const other = otherOf(room, me().id);
  return (
    <Avatar
      name={title}
      seed={room.is_direct ? (other?.username ?? title) : `room ${room.id}`}
      src={other === undefined ? undefined : avatarOf(other.id)}
      room={!room.is_direct}
      online={other !== undefined && isOnline(other.id)}
    />
  );
}

function RoomItem({ room }: { room: Room }): JSX.Element {
  const here = route.value.name === "room" && route.value.id === room.id;
  const unread = room.unread_count > 0;
  // A muted room is quiet, but for those who call one by name.
  const loud = unread && (!room.is_muted || room.mention_count > 0);
  return (
    <li>
      <a
        class={`room-item${loud ? " unread" : ""}${room.is_muted ? " muted" : ""}`}
        href={roomPath(room.id)}
        aria-current={here ? "page" : undefined}
      >
        <RoomAvatar room={room} />
        <span class="room-item-text">
          <span class="room-item-name">{roomTitle(room, me().id)}</span>
          <RoomNote room={room} />
        </span>
        {room.is_muted && <Sign icon="bellOff" label={t("muted_room")} />}
        {unread && (
          <span class="badges">
            {room.mention_count > 0 && (
              <span class="badge accent">
                <span aria-hidden="true">@{room.mention_count > 99 ? "99+" : room.mention_count}</span>
                <span class="visually-hidden">{t("mention_count", { count: room.mention_count })}</span>
              </span>
            )}
            <span class={room.is_muted || room.mention_count > 0 ? "badge" : "badge accent"}>
              <span aria-hidden="true">{room.unread_count > 99 ? "99+" : room.unread_count}</span>
              <span class="visually-hidden">{t("unread_count", { count: room.unread_count })}</span>
            </span>
          </span>
        )}
      </a>
    </li>
  );
}

function Sign({ icon, label }: { icon: IconName; label: string }): JSX.Element {
  return (
    <span class="room-sign" title={label}>
      <Icon name={icon} />
      <span class="visually-hidden">{label}</span>
    </span>
  );
}

/** The second line of a room: who is in a call, or what the room is. */
function RoomNote({ room }: { room: Room }): JSX.Element {
  const inCall = room.active_call_participants;
  const joined = currentCall.value?.roomId === room.id;
  if (inCall.length === 0) {
    const other = otherOf(room, me().id);
    return (
      <span class="room-item-note">
        {other === undefined
          ? room.topic || t("members_count", { count: room.participant_count })
          : [`@${other.username}`, isOnline(other.id) && t("online")].filter(Boolean).join(" · ")}
      </span>
    );
  }
  return (
    <span class={`room-item-call${joined ? " joined" : ""}`}>
      <Icon name="phone" />
      <span class="visually-hidden">{t("in_call")}</span>
      <span class="ellipsis">{inCall.join(", ")}</span>
    </span>
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
        const room = await api.createRoom({ name });
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
