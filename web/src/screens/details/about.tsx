// About a room: what it is for, who is in it, and what one may do with it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Room } from "../../api/types";
import { formatShort, t } from "../../i18n";
import { navigate } from "../../router";
import { currentCall, leaveCall } from "../../state/call";
import { may } from "../../state/rights";
import { dropRoom, takeRoom } from "../../state/rooms";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import { Confirm, Menu } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { MessageText } from "../../ui/text";
import { Bans } from "./bans";
import { EditRoom } from "./edit";
import { Hooks } from "./hooks";
import { Invitations } from "./invitations";
import { Members } from "./members";
import { Pins } from "./pins";

type Asked = "pins" | "invite" | "edit" | "bans" | "hooks" | "leave" | "delete";
const HOUR_MS = 3_600_000;

export function Details({ room }: { room: Room }): JSX.Element {
  const [asked, ask] = useState<Asked | null>(null);
  const close = () => ask(null);
  const take = (change: Promise<Room>) => void change.then(takeRoom, report);
  const mute = (hours: number | null) =>
    take(api.muteRoom(room.id, hours === null ? null : new Date(Date.now() + hours * HOUR_MS)));

  async function go(action: Promise<void>): Promise<void> {
    try {
      await action;
    } catch (error) {
      report(error);
      return;
    }
    if (currentCall.peek()?.roomId === room.id) leaveCall();
    dropRoom(room.id);
    navigate("#/", true);
  }

  return (
    <div class="details">
      {room.topic !== "" && (
        <div class="topic">
          <h3>{t("topic")}</h3>
          <MessageText content={room.topic} />
        </div>
      )}
      <div class="details-actions">
        {may(room, "invite") && (
          <button type="button" class="button primary" onClick={() => ask("invite")}>
            <Icon name="link" />
            {t("invite")}
          </button>
        )}
        <button
          type="button"
          class="button"
          aria-pressed={room.is_pinned}
          onClick={() => take(api.pinRoom(room.id, !room.is_pinned))}
        >
          <Icon name="pin" />
          {t(room.is_pinned ? "unpin" : "pin")}
        </button>
        {room.is_muted ? (
          <button type="button" class="button" onClick={() => take(api.unmuteRoom(room.id))}>
            <Icon name="bell" />
            {t("unmute_room")}
          </button>
        ) : (
          <Menu
            class="button"
            label={t("mute_room")}
            items={() => [
              { icon: "bellOff", text: t("mute_hour"), onClick: () => mute(1) },
              { icon: "bellOff", text: t("mute_day"), onClick: () => mute(24) },
              { icon: "bellOff", text: t("mute_for_good"), onClick: () => mute(null) },
            ]}
          >
            <Icon name="bellOff" />
            {t("mute_room")}
          </Menu>
        )}
      </div>
      <button type="button" class="row action plain" onClick={() => ask("pins")}>
        <Icon name="pin" />
        <span class="who">{t("pinned_messages")}</span>
        <Icon name="next" small />
      </button>
      {room.is_muted && (
        <p class="hint">
          {room.muted_until === null
            ? t("muted_for_good")
            : t("muted_until", { date: formatShort(new Date(room.muted_until)) })}
        </p>
      )}
      <Members room={room} />
      <div class="details-foot">
        {may(room, "topic") && (
          <button type="button" class="button" onClick={() => ask("edit")}>
            <Icon name="edit" />
            {t("edit_room")}
          </button>
        )}
        {may(room, "moderate") && (
          <button type="button" class="button" onClick={() => ask("bans")}>
            <Icon name="ban" />
            {t("bans")}
          </button>
        )}
        {may(room, "moderate") && (
          <button type="button" class="button" onClick={() => ask("hooks")}>
            <Icon name="code" />
            {t("hooks")}
          </button>
        )}
        {!room.is_direct && (
          <button type="button" class="button danger" onClick={() => ask("leave")}>
            {t("leave_room")}
          </button>
        )}
        {may(room, "own") && (
          <button type="button" class="button danger" onClick={() => ask("delete")}>
            {t("delete_room")}
          </button>
        )}
      </div>

      {asked === "invite" && <Invitations room={room} onClose={close} />}
      {asked === "pins" && <Pins room={room} onClose={close} />}
      {asked === "edit" && <EditRoom room={room} onClose={close} />}
      {asked === "bans" && <Bans room={room} onClose={close} />}
      {asked === "hooks" && <Hooks room={room} onClose={close} />}
      {asked === "leave" && (
        <Confirm
          title={t("leave_room")}
          text={t(room.role === "owner" ? "leave_own_room_text" : "leave_room_text", { room: room.name })}
          action={t("leave_room_action")}
          onConfirm={() => go(api.leaveRoom(room.id))}
          onClose={close}
        />
      )}
      {asked === "delete" && (
        <Confirm
          title={t("delete_room")}
          text={t("delete_room_text", { room: room.name })}
          action={t("delete_room_action")}
          onConfirm={() => go(api.deleteRoom(room.id))}
          onClose={close}
        />
      )}
    </div>
  );
}
