// Who is in a room, and what one may do about them.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Role, Room, RoomParticipant, User } from "../../api/types";
import { type Key, t } from "../../i18n";
import { navigate, roomPath } from "../../router";
import { onLive } from "../../state/live";
import { isOnline, meet, nameOf } from "../../state/people";
import { may, mayAgainst } from "../../state/rights";
import { takeRoom } from "../../state/rooms";
import { api, me } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, Confirm, Field, IconButton, Menu, Problem, Spinner, TextArea } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { useAsked } from "../../ui/use";
import { PeoplePicker } from "../people";

/** Members beyond which one looks for them by name. */
const MANY = 12;
/** Members that are shown at once. */
const SHOWN = 100;

const ROLES: Record<Role, Key | null> = { owner: "owner", moderator: "moderator", member: null };

type Asked = { what: "remove" | "ban" | "transfer"; user: User } | { what: "add" };

export async function writeTo(user: { id: number }): Promise<void> {
  try {
    navigate(roomPath(takeRoom(await api.directRoom(user.id)).id));
  } catch (error) {
    report(error);
  }
}

export function Members({ room }: { room: Room }): JSX.Element {
  const [sought, setSought] = useState("");
  const [asked, ask] = useState<Asked | null>(null);
  const [reason, setReason] = useState("");
  const members = useAsked(async () => {
    const found = await api.participants(room.id);
    meet(found.map((member) => member.user));
    return found;
  }, [room.id, room.participant_count]);
  useEffect(
    () =>
      onLive((frame) => {
        if (frame.type === "participant_changed" && frame.data.room_id === room.id) members.reload();
      }),
    [room.id],
  );
  const close = () => {
    ask(null);
    setReason("");
  };
  const act = async (work: Promise<unknown>) => {
    try {
      await work;
      close();
      members.reload();
    } catch (error) {
      report(error);
    }
  };
  // Moderators add bots, people only the owner.
  const adding = t(may(room, "own") ? "add_member" : "add_bot_here");
  const wanted = sought.trim().toLowerCase();
  const order: Record<Role, number> = { owner: 0, moderator: 1, member: 2 };
  const found = (members.data ?? [])
    .filter(({ user }) => `${user.display_name} ${user.username}`.toLowerCase().includes(wanted))
    .sort((a, b) => order[a.role] - order[b.role] || nameOf(a.user).localeCompare(nameOf(b.user)));
  return (
    <section class="stack tight" aria-label={t("members")}>
      <div class="page-head">
        <h3 class="who">{t("members_count", { count: members.data?.length ?? room.participant_count })}</h3>
        {may(room, "moderate") && (
          <IconButton icon="plus" label={adding} onClick={() => ask({ what: "add" })} />
        )}
      </div>
      {members.data === null && members.problem === null && <Spinner label={t("loading")} />}
      {members.problem !== null && <Problem text={members.problem} onRetry={members.reload} />}
      {(members.data?.length ?? 0) > MANY && (
        <Field label={t("find_member")} name="member" type="search" value={sought} onInput={setSought} />
      )}
      <ul class="members">
        {found.slice(0, SHOWN).map((member) => (
          <Member key={member.id} member={member} room={room} onAsk={ask} onAct={act} />
        ))}
      </ul>
      {found.length > SHOWN && <p class="hint">{t("more_members", { count: found.length - SHOWN })}</p>}

      {asked?.what === "add" && (
        <PeoplePicker
          title={adding}
          action={t("add")}
          onClose={close}
          onPick={(user) => act(api.addParticipant(room.id, user.id))}
          without={(user) =>
            room.participant_users.some((known) => known.id === user.id) || !(user.is_bot || may(room, "own"))
          }
        />
      )}
      {asked?.what === "remove" && (
        <Confirm
          title={t("remove_member")}
          text={t("remove_member_text", { name: nameOf(asked.user), room: room.name })}
          action={t("remove_member_action")}
          onConfirm={() => act(api.removeParticipant(room.id, asked.user.id))}
          onClose={close}
        />
      )}
      {asked?.what === "ban" && (
        <Confirm
          title={t("ban_member")}
          text={t("ban_member_text", { name: nameOf(asked.user), room: room.name })}
          action={t("ban_member_action")}
          onConfirm={() => act(api.ban(room.id, asked.user.id, reason.trim()))}
          onClose={close}
        >
          <TextArea
            label={t("ban_reason")}
            name="reason"
            rows={2}
            maxLength={300}
            value={reason}
            onInput={setReason}
          />
        </Confirm>
      )}
      {asked?.what === "transfer" && (
        <Confirm
          title={t("transfer_room")}
          text={t("transfer_room_text", { name: nameOf(asked.user), room: room.name })}
          action={t("transfer_room_action")}
          onConfirm={() => act(api.transferRoom(room.id, asked.user.id).then(takeRoom))}
          onClose={close}
        />
      )}
    </section>
  );
}

function Member(props: {
  member: RoomParticipant;
  room: Room;
  onAsk: (asked: Asked) => void;
  onAct: (work: Promise<unknown>) => Promise<void>;
}): JSX.Element {
  const { member, room, onAsk, onAct } = props;
  const { user, role } = member;
  const self = user.id === me().id;
  const inCall = room.active_call_participants.includes(user.username);
  const shownRole = room.is_direct ? null : ROLES[role];
  const against = !self && mayAgainst(room, role);
  const owns = !self && may(room, "own");
  return (
    <li class="member">
      <Avatar name={nameOf(user)} seed={user.username} src={user.avatar_url} online={isOnline(user.id)} />
      <span class="who">
        <span class="who-name">{self ? t("you_named", { name: nameOf(user) }) : nameOf(user)}</span>
        <span class="who-note">
          {[
            `@${user.username}`,
            user.is_bot && t("bot"),
            shownRole !== null && t(shownRole),
            inCall ? t("in_call") : isOnline(user.id) && t("online"),
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </span>
      {!self && !room.is_direct && (
        <IconButton
          icon="chat"
          label={t("write_to", { name: user.username })}
          onClick={() => void writeTo(user)}
        />
      )}
      {(against || owns) && (
        <Menu
          label={t("actions_for", { name: user.username })}
          items={() => [
            owns &&
              (role === "moderator"
                ? {
                    icon: "shield",
                    text: t("dismiss_moderator"),
                    onClick: () => void onAct(api.setRole(room.id, user.id, "member")),
                  }
                : {
                    icon: "shield",
                    text: t("make_moderator"),
                    onClick: () => void onAct(api.setRole(room.id, user.id, "moderator")),
                  }),
            owns &&
              !user.is_bot && {
                icon: "crown",
                text: t("transfer_room"),
                onClick: () => onAsk({ what: "transfer", user }),
              },
            against && {
              icon: "close",
              text: t("remove_member"),
              danger: true,
              onClick: () => onAsk({ what: "remove", user }),
            },
            against && {
              icon: "ban",
              text: t("ban_member"),
              danger: true,
              onClick: () => onAsk({ what: "ban", user }),
            },
          ]}
        >
          <Icon name="more" />
        </Menu>
      )}
    </li>
  );
}
