// Invitation links: one is made, those that there are, and revoking them.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Invitation, ListedInvitation, Room } from "../../api/types";
import { formatFull, formatShort, t } from "../../i18n";
import { nameOf } from "../../state/people";
import { api, me, serverConfig } from "../../state/session";
import { report } from "../../state/toasts";
import { Dialog, IconButton, Problem, Select, Spinner } from "../../ui/components";
import { copyText } from "../../ui/copy";
import { CopyField } from "../../ui/take";
import { useAsked } from "../../ui/use";
import { roomTitle } from "../sidebar";

const HOURS = { hour: 1, day: 24, week: 168, never: undefined } as const;
const USES = { one: 1, ten: 10, any: undefined } as const;

const linkOf = (token: string): string =>
  `${serverConfig.peek()?.public_url || location.origin}/#/join/${token}`;

export function Invitations({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const [life, setLife] = useState<keyof typeof HOURS>("never");
  const [uses, setUses] = useState<keyof typeof USES>("any");
  const [made, setMade] = useState<Invitation | null>(null);
  const listed = useAsked(() => api.invitations(room.id), [room.id, made]);
  const hours = HOURS[life];
  const most = USES[uses];
  const first = useAsked(() => make(), [room.id, life, uses]);

  /** One as is asked for: there may be such a link of one's own already. */
  async function make(): Promise<Invitation> {
    const known = await api.invitations(room.id);
    const same = known.find(
      (one) =>
        one.created_by.id === me().id && one.expires_at === null && one.max_uses === null && one.uses === 0,
    );
    if (same !== undefined && hours === undefined && most === undefined) {
      setMade(same);
      return same;
    }
    const fresh = await api.invite(room.id, {
      ...(hours === undefined ? {} : { expires_in_hours: hours }),
      ...(most === undefined ? {} : { max_uses: most }),
    });
    setMade(fresh);
    return fresh;
  }

  const others = listed.data?.filter((one) => one.token !== made?.token) ?? [];
  return (
    <Dialog title={t("invite_title", { room: roomTitle(room, me().id) })} onClose={onClose}>
      <div class="stack">
        <p>{t("invite_text")}</p>
        {first.problem !== null && <Problem text={first.problem} onRetry={first.reload} />}
        {made === null && first.problem === null && <Spinner label={t("loading")} />}
        {made !== null && <CopyField label={t("invite_link")} value={linkOf(made.token)} />}
        {made?.expires_at != null && (
          <p class="hint">{t("invite_until", { date: formatFull(new Date(made.expires_at)) })}</p>
        )}
        <div class="halves">
          <Select
            label={t("invite_life")}
            value={life}
            onChange={setLife}
            options={[
              { value: "hour", text: t("life_hour") },
              { value: "day", text: t("life_day") },
              { value: "week", text: t("life_week") },
              { value: "never", text: t("life_never") },
            ]}
          />
          <Select
            label={t("invite_uses")}
            value={uses}
            onChange={setUses}
            options={[
              { value: "one", text: t("uses_count", { count: 1 }) },
              { value: "ten", text: t("uses_count", { count: 10 }) },
              { value: "any", text: t("uses_any") },
            ]}
          />
        </div>
        {others.length > 0 && (
          <section class="stack tight" aria-label={t("other_invitations")}>
            <h3>{t("other_invitations")}</h3>
            <ul>
              {others.map((one) => (
                <Listed
                  key={one.token}
                  invitation={one}
                  onRevoke={() => api.revokeInvitation(room.id, one.token).then(listed.reload, report)}
                />
              ))}
            </ul>
          </section>
        )}
      </div>
    </Dialog>
  );
}

function Listed({
  invitation,
  onRevoke,
}: {
  invitation: ListedInvitation;
  onRevoke: () => void;
}): JSX.Element {
  const { created_by: by, created_at: at, expires_at: until, uses, max_uses: most } = invitation;
  return (
    <li class="row wraps">
      <span class="who">
        <span class="who-name">{t("invited_by", { name: nameOf(by), date: formatShort(new Date(at)) })}</span>
        <span class="who-note">
          {[
            most === null ? t("used_count", { count: uses }) : t("used_of", { count: uses, most }),
            until !== null && t("invite_until", { date: formatShort(new Date(until)) }),
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </span>
      <IconButton
        icon="copy"
        label={t("copy_link")}
        onClick={() => void copyText(linkOf(invitation.token))}
      />
      <IconButton icon="trash" label={t("revoke_invitation")} onClick={onRevoke} />
    </li>
  );
}
