// All accounts: who they are, and what an administrator may do about them.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Page, ResetLink, UserAccount } from "../../api/types";
import { formatFull, formatShort, formatSize, t } from "../../i18n";
import { nameOf } from "../../state/people";
import { api, me } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, Confirm, Dialog, Menu, Panel } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { CopyField } from "../../ui/take";
import type { Asked } from "../../ui/use";
import { Paged } from "./paged";

export function Users(): JSX.Element {
  const [deleting, setDeleting] = useState<{ user: UserAccount; list: Asked<Page<UserAccount>> } | null>(
    null,
  );
  const [link, setLink] = useState<{ user: UserAccount; link: ResetLink } | null>(null);
  return (
    <Panel title={t("users")} text={t("users_text")}>
      <Paged
        label={t("search_people")}
        icon="people"
        ask={api.accounts}
        row={(user, list) => (
          <UserRow
            key={user.id}
            user={user}
            onChange={(change) => api.changeAccount(user.id, change).then(list.reload, report)}
            onLink={() => api.makeResetLink(user.id).then((made) => setLink({ user, link: made }), report)}
            onDelete={() => setDeleting({ user, list })}
          />
        )}
      />
      {deleting !== null && (
        <Confirm
          title={t("delete_user")}
          text={t("delete_user_text", { name: nameOf(deleting.user) })}
          action={t("delete")}
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await api.deleteUser(deleting.user.id).catch(report);
            deleting.list.reload();
            setDeleting(null);
          }}
        />
      )}
      {link !== null && (
        <Dialog title={t("reset_link")} onClose={() => setLink(null)}>
          <p>{t("reset_link_text", { name: nameOf(link.user) })}</p>
          <CopyField label={t("reset_link")} value={link.link.url} />
          <p class="hint">{t("invite_until", { date: formatFull(new Date(link.link.expires_at)) })}</p>
        </Dialog>
      )}
    </Panel>
  );
}

function UserRow(props: {
  user: UserAccount;
  onChange: (change: { is_blocked?: boolean; is_admin?: boolean }) => void;
  onLink: () => void;
  onDelete: () => void;
}): JSX.Element {
  const { user } = props;
  const seen =
    user.last_seen_at === null
      ? t("never_seen")
      : t("last_used", { date: formatShort(new Date(user.last_seen_at)) });
  return (
    <li class="row wraps" data-user={user.username}>
      <Avatar name={nameOf(user)} seed={user.username} src={user.avatar_url} />
      <span class="who">
        <span class="who-name">
          {nameOf(user)} {user.is_admin && <span class="tag good">{t("administrator")}</span>}{" "}
          {user.is_blocked && <span class="tag danger">{t("blocked")}</span>}{" "}
          {user.has_totp && <span class="tag">{t("second_factor")}</span>}
        </span>
        <span class="who-note">{[`@${user.username}`, user.email].filter(Boolean).join(" · ")}</span>
        <span class="who-note">
          {seen} · {t("files_of", { count: user.file_count, size: formatSize(user.file_bytes) })}
        </span>
      </span>
      <Menu
        label={t("actions_for", { name: user.username })}
        items={() => [
          { icon: "key", text: t("make_reset_link"), onClick: props.onLink },
          user.id !== me().id && {
            icon: "admin",
            text: t(user.is_admin ? "unmake_admin" : "make_admin"),
            onClick: () => props.onChange({ is_admin: !user.is_admin }),
          },
          user.id !== me().id && {
            icon: "ban",
            text: t(user.is_blocked ? "unblock_user" : "block_user"),
            danger: !user.is_blocked,
            onClick: () => props.onChange({ is_blocked: !user.is_blocked }),
          },
          user.id !== me().id && {
            icon: "trash",
            text: t("delete_user"),
            danger: true,
            onClick: props.onDelete,
          },
        ]}
      >
        <Icon name="more" />
      </Menu>
    </li>
  );
}
