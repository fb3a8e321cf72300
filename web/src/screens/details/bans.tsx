// Who may not enter a room, and letting them in again.

import type { JSX } from "preact";
import type { Room } from "../../api/types";
import { formatShort, t } from "../../i18n";
import { nameOf } from "../../state/people";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, Dialog, Empty, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";

export function Bans({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const bans = useAsked(() => api.bans(room.id), [room.id]);
  return (
    <Dialog title={t("bans")} onClose={onClose}>
      {bans.problem !== null && <Problem text={bans.problem} onRetry={bans.reload} />}
      {bans.data === null && bans.problem === null && <Spinner label={t("loading")} />}
      {bans.data?.results.length === 0 && <Empty icon="ban" title={t("bans_empty")} />}
      <ul>
        {bans.data?.results.map((ban) => (
          <li key={ban.user.id} class="row wraps">
            <Avatar name={nameOf(ban.user)} seed={ban.user.username} src={ban.user.avatar_url} />
            <span class="who">
              <span class="who-name">{nameOf(ban.user)}</span>
              <span class="who-note">
                {t("banned_by", { name: nameOf(ban.banned_by), date: formatShort(new Date(ban.created_at)) })}
              </span>
              {ban.reason !== "" && <span class="who-note">{ban.reason}</span>}
            </span>
            <button
              type="button"
              class="button small"
              aria-label={t("lift_ban_of", { name: ban.user.username })}
              onClick={() => api.liftBan(room.id, ban.user.id).then(bans.reload, report)}
            >
              {t("lift_ban")}
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
