// Entering a room by an invitation link: who invites to what, and then in.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { navigate, roomPath } from "../router";
import { nameOf } from "../state/people";
import { takeRoom } from "../state/rooms";
import { api } from "../state/session";
import { Avatar, Empty, Spinner } from "../ui/components";
import { useAsked, useForm } from "../ui/use";

export function JoinScreen({ uuid }: { uuid: string }): JSX.Element {
  const [attempt, setAttempt] = useState(0);
  const preview = useAsked(() => api.previewInvitation(uuid), [uuid, attempt]);
  const form = useForm([]);
  const problem = preview.problem ?? form.problems.form;

  if (problem !== undefined && problem !== null) {
    return (
      <Empty icon="link" title={t("join_failed")} text={problem}>
        <div class="dialog-actions">
          <a class="button" href="#/">
            {t("to_rooms")}
          </a>
          <button
            type="button"
            class="button primary"
            onClick={() => {
              form.clear();
              setAttempt(attempt + 1);
            }}
          >
            {t("try_again")}
          </button>
        </div>
      </Empty>
    );
  }
  if (preview.data === null) return <Spinner label={t("loading")} />;
  const { room_name: name, participant_count: count, inviter } = preview.data;
  return (
    <div class="empty">
      <Avatar name={name} seed={uuid} large room />
      <p>{t("invites_you", { name: nameOf(inviter) })}</p>
      <h2>{name}</h2>
      <p>{t("members_count", { count })}</p>
      <div class="dialog-actions">
        <a class="button" href="#/">
          {t("not_now")}
        </a>
        <button
          type="button"
          class="button primary"
          disabled={form.busy}
          onClick={() =>
            void form.submit(async () => {
              const room = takeRoom(await api.joinByInvitation(uuid));
              navigate(roomPath(room.id), true);
            })
          }
        >
          {t("enter_room")}
        </button>
      </div>
    </div>
  );
}
