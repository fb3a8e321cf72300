// All rooms, from outside: how large they are and whose, never what is said in them.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Page, RoomAccount } from "../../api/types";
import { formatShort, formatSize, t } from "../../i18n";
import { nameOf } from "../../state/people";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, Confirm, IconButton, Panel } from "../../ui/components";
import type { Asked } from "../../ui/use";
import { Paged } from "./paged";

export function Rooms(): JSX.Element {
  const [deleting, setDeleting] = useState<{ room: RoomAccount; list: Asked<Page<RoomAccount>> } | null>(
    null,
  );
  return (
    <Panel title={t("rooms")} text={t("all_rooms_text")}>
      <Paged
        label={t("search_rooms")}
        icon="hash"
        ask={api.allRooms}
        row={(room, list) => (
          <li key={room.id} class="row wraps" data-room={room.id}>
            <Avatar name={room.name} seed={`room ${room.id}`} room />
            <span class="who">
              <span class="who-name">
                {room.name} {room.is_public && <span class="tag good">{t("public")}</span>}{" "}
                {room.is_direct && <span class="tag">{t("direct_message")}</span>}
              </span>
              <span class="who-note">
                {t("owned_by", { name: nameOf(room.owner) })} ·{" "}
                {t("members_count", { count: room.participant_count })}
              </span>
              <span class="who-note">
                {t("messages_count", { count: room.message_count })} · {formatSize(room.file_bytes)}
                {room.last_message_at !== null &&
                  ` · ${t("last_message", { date: formatShort(new Date(room.last_message_at)) })}`}
              </span>
            </span>
            <IconButton
              icon="trash"
              label={t("delete_named", { name: room.name })}
              onClick={() => setDeleting({ room, list })}
            />
          </li>
        )}
      />
      {deleting !== null && (
        <Confirm
          title={t("delete_room")}
          text={t("delete_room_text", { room: deleting.room.name })}
          action={t("delete")}
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await api.deleteAnyRoom(deleting.room.id).catch(report);
            deleting.list.reload();
            setDeleting(null);
          }}
        />
      )}
    </Panel>
  );
}
