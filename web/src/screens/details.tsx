// About a room: who is in it, the invitation link, and what one may do with it.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Room, RoomParticipant, User } from "../api/types";
import { formatFull, t } from "../i18n";
import { navigate, roomPath } from "../router";
import { currentCall, leaveCall } from "../state/call";
import { dropRoom, fetchRoom, putRoom } from "../state/rooms";
import { api, me, serverConfig } from "../state/session";
import { explain, report, toast } from "../state/toasts";
import { Avatar, Confirm, Dialog, IconButton, Spinner } from "../ui/components";
import { Icon } from "../ui/icons";
import { RoomNameDialog, roomTitle } from "./sidebar";

type Asked = "invite" | "rename" | "leave" | "delete" | { remove: User };

export function Details({ room }: { room: Room }): JSX.Element {
  const [members, setMembers] = useState<RoomParticipant[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [asked, ask] = useState<Asked | null>(null);
  const owner = room.owner.id === me().id;
  const close = () => ask(null);

  async function load(): Promise<void> {
    setProblem(null);
    try {
      setMembers(await api.participants(room.id));
    } catch (error) {
      setProblem(explain(error));
    }
  }
  // Again when people have come or gone
  useEffect(() => void load(), [room.id, room.participant_count]);

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
      <div class="details-actions">
        {!room.is_direct && (
          <button type="button" class="button primary" onClick={() => ask("invite")}>
            <Icon name="link" />
            {t("invite")}
          </button>
        )}
        <button
          type="button"
          class="button"
          aria-pressed={room.is_pinned}
          onClick={() => api.pinRoom(room.id, !room.is_pinned).then((changed) => putRoom(changed), report)}
        >
          <Icon name="pin" />
          {t(room.is_pinned ? "unpin" : "pin")}
        </button>
      </div>
      <h3>{t("members_count", { count: members?.length ?? room.participant_count })}</h3>
      {members === null && problem === null && <Spinner label={t("loading")} />}
      {problem !== null && (
        <p class="form-error" role="alert">
          {problem}{" "}
          <button type="button" class="link" onClick={() => void load()}>
            {t("try_again")}
          </button>
        </p>
      )}
      <ul class="members">
        {members?.map((member) => (
          <Member
            key={member.id}
            member={member}
            room={room}
            onRemove={owner && !room.is_direct ? () => ask({ remove: member.user }) : undefined}
          />
        ))}
      </ul>
      {!room.is_direct && (
        <div class="details-foot">
          {owner && (
            <button type="button" class="button" onClick={() => ask("rename")}>
              {t("rename_room")}
            </button>
          )}
          {!owner && (
            <button type="button" class="button danger" onClick={() => ask("leave")}>
              {t("leave_room")}
            </button>
          )}
          {owner && (
            <button type="button" class="button danger" onClick={() => ask("delete")}>
              {t("delete_room")}
            </button>
          )}
        </div>
      )}

      {asked === "invite" && <Invite room={room} onClose={close} />}
      {asked === "rename" && (
        <RoomNameDialog
          title={t("rename_room")}
          action={t("save")}
          initial={room.name}
          onClose={close}
          onSave={async (name) => {
            putRoom(await api.changeRoom(room.id, { name }));
            close();
          }}
        />
      )}
      {asked === "leave" && (
        <Confirm
          title={t("leave_room")}
          text={t("leave_room_text", { room: room.name })}
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
      {typeof asked === "object" && asked !== null && (
        <Confirm
          title={t("remove_member")}
          text={t("remove_member_text", { name: asked.remove.display_name, room: room.name })}
          action={t("remove_member_action")}
          onConfirm={async () => {
            try {
              await api.removeParticipant(room.id, asked.remove.id);
              close();
              await Promise.all([load(), fetchRoom(room.id)]);
            } catch (error) {
              report(error);
            }
          }}
          onClose={close}
        />
      )}
    </div>
  );
}

function Member(props: {
  member: RoomParticipant;
  room: Room;
  onRemove: (() => void) | undefined;
}): JSX.Element {
  const { user, is_admin: owns } = props.member;
  const self = user.id === me().id;
  const inCall = props.room.active_call_participants.includes(user.username);
  return (
    <li class="member">
      <Avatar name={user.display_name || user.username} seed={user.username} />
      <span class="who">
        <span class="who-name">
          {self
            ? t("you_named", { name: user.display_name || user.username })
            : user.display_name || user.username}
        </span>
        <span class="who-note">
          {[`@${user.username}`, owns && !props.room.is_direct && t("owner"), inCall && t("in_call")]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </span>
      {!self && !props.room.is_direct && (
        <IconButton
          icon="chat"
          label={t("write_to", { name: user.username })}
          onClick={() => {
            api.directRoom(user.id).then((room) => {
              putRoom(room);
              navigate(roomPath(room.id));
            }, report);
          }}
        />
      )}
      {!self && props.onRemove !== undefined && (
        <IconButton
          icon="close"
          label={t("remove_named", { name: user.username })}
          onClick={props.onRemove}
        />
      )}
    </li>
  );
}

function Invite({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const [link, setLink] = useState<string | null>(null);
  const [until, setUntil] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);

  useEffect(() => {
    api.invite(room.id, {}).then(
      ({ token, expires_at: expires }) => {
        const origin = serverConfig.peek()?.public_url || location.origin;
        setLink(`${origin}/#/join/${token}`);
        setUntil(expires);
      },
      (error) => setProblem(explain(error)),
    );
  }, [room.id]);

  async function copy(input: HTMLInputElement | null): Promise<void> {
    if (link === null) return;
    try {
      // There is no clipboard on pages that came over plain HTTP; there the text is marked for the user to copy.
      await navigator.clipboard.writeText(link);
      toast(t("copied"));
    } catch {
      input?.select();
      toast(t("copy_by_hand"));
    }
  }

  return (
    <Dialog title={t("invite_title", { room: roomTitle(room, me().id) })} onClose={onClose}>
      {problem !== null && (
        <p class="form-error" role="alert">
          {problem}
        </p>
      )}
      {problem === null && link === null && <Spinner label={t("loading")} />}
      {link !== null && (
        <div class="stack">
          <p>{t("invite_text")}</p>
          <form
            class="copy"
            onSubmit={(event) => {
              event.preventDefault();
              void copy(event.currentTarget.querySelector("input"));
            }}
          >
            <input
              class="input"
              aria-label={t("invite_link")}
              value={link}
              readOnly
              onFocus={(event) => event.currentTarget.select()}
            />
            <button type="submit" class="button primary">
              {t("copy")}
            </button>
          </form>
          {until !== null && <p class="hint">{t("invite_until", { date: formatFull(new Date(until)) })}</p>}
        </div>
      )}
    </Dialog>
  );
}
