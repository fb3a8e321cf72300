// The bots that one has made: programs that take part in rooms by a token of their own.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Bot } from "../../api/types";
import { formatShort, t } from "../../i18n";
import { nameOf } from "../../state/people";
import { api, serverConfig } from "../../state/session";
import { report } from "../../state/toasts";
import {
  Avatar,
  Confirm,
  Empty,
  Field,
  FormDialog,
  Menu,
  Panel,
  Problem,
  Spinner,
} from "../../ui/components";
import { Icon } from "../../ui/icons";
import { ShownOnce } from "../../ui/take";
import { useAsked, useForm } from "../../ui/use";

const NAME_LENGTH = 150;

type Asked =
  | { what: "add" }
  | { what: "rename" | "renew" | "revoke" | "delete"; bot: Bot }
  | { what: "made"; name: string; token: string };

export function Bots(): JSX.Element {
  const bots = useAsked(api.bots, []);
  const [asked, ask] = useState<Asked | null>(null);
  const close = () => ask(null);
  const done = (next: Asked | null) => {
    ask(next);
    bots.reload();
  };
  const act = async (work: () => Promise<Asked | null>) => {
    try {
      done(await work());
    } catch (error) {
      report(error);
    }
  };
  return (
    <Panel title={t("bots")} text={t("bots_text")}>
      {bots.problem !== null && <Problem text={bots.problem} onRetry={bots.reload} />}
      {bots.data === null && bots.problem === null && <Spinner label={t("loading")} />}
      {bots.data?.length === 0 && <Empty icon="code" title={t("bots_empty")} />}
      <ul class="found">
        {bots.data?.map((bot) => (
          <li key={bot.id} class="row wraps" data-bot={bot.username}>
            <Avatar name={nameOf(bot)} seed={bot.username} src={bot.avatar_url} />
            <span class="who">
              <span class="who-name">
                {nameOf(bot)} {bot.is_blocked && <span class="tag danger">{t("blocked")}</span>}
              </span>
              <span class="who-note">@{bot.username}</span>
              <span class="who-note">{tokenText(bot)}</span>
            </span>
            <Menu
              label={t("actions_for", { name: bot.username })}
              items={() => [
                { icon: "edit", text: t("rename_bot"), onClick: () => ask({ what: "rename", bot }) },
                { icon: "key", text: t("new_token"), onClick: () => ask({ what: "renew", bot }) },
                bot.token !== null && {
                  icon: "ban",
                  text: t("revoke_token"),
                  danger: true,
                  onClick: () => ask({ what: "revoke", bot }),
                },
                {
                  icon: "trash",
                  text: t("delete_bot"),
                  danger: true,
                  onClick: () => ask({ what: "delete", bot }),
                },
              ]}
            >
              <Icon name="more" />
            </Menu>
          </li>
        ))}
      </ul>
      <div class="cluster">
        <button type="button" class="button primary" onClick={() => ask({ what: "add" })}>
          <Icon name="plus" />
          {t("add_bot")}
        </button>
        <a class="button" href="/api/docs/" target="_blank" rel="noreferrer">
          {t("api_docs")}
        </a>
      </div>
      {asked?.what === "add" && <AddBot onMade={done} onClose={close} />}
      {asked?.what === "rename" && <RenameBot bot={asked.bot} onRenamed={() => done(null)} onClose={close} />}
      {asked?.what === "renew" && (
        <Confirm
          title={t("new_token")}
          text={t("new_token_text", { name: asked.bot.username })}
          action={t("make_token")}
          onClose={close}
          onConfirm={() =>
            act(async () => {
              const { token } = await api.renewBotToken(asked.bot.id);
              return { what: "made", name: asked.bot.username, token };
            })
          }
        />
      )}
      {asked?.what === "revoke" && (
        <Confirm
          title={t("revoke_token")}
          text={t("revoke_token_text", { name: asked.bot.username })}
          action={t("revoke_token")}
          onClose={close}
          onConfirm={() =>
            act(async () => {
              await api.revokeBotToken(asked.bot.id);
              return null;
            })
          }
        />
      )}
      {asked?.what === "delete" && (
        <Confirm
          title={t("delete_bot")}
          text={t("delete_bot_text", { name: asked.bot.username })}
          action={t("delete")}
          onClose={close}
          onConfirm={() =>
            act(async () => {
              await api.deleteBot(asked.bot.id);
              return null;
            })
          }
        />
      )}
      {asked?.what === "made" && (
        <ShownOnce
          title={t("token_of", { name: asked.name })}
          text={t("token_once")}
          label={t("token_of", { name: asked.name })}
          value={asked.token}
          onClose={close}
        />
      )}
    </Panel>
  );
}

function tokenText({ token }: Bot): string {
  if (token === null) return t("no_token");
  const made = t("token_made", { date: formatShort(new Date(token.created_at)) });
  return `${made} · ${t("last_used", { date: formatShort(new Date(token.last_used_at)) })}`;
}

function AddBot(props: { onMade: (made: Asked) => void; onClose: () => void }): JSX.Element {
  const [username, setUsername] = useState("");
  const [name, setName] = useState("");
  const form = useForm(["username", "display_name"]);
  return (
    <FormDialog
      title={t("add_bot")}
      form={form}
      action={t("make_bot")}
      onClose={props.onClose}
      onSubmit={() => {
        void form.submit(async () => {
          const made = await api.addBot(username.trim(), name.trim());
          props.onMade({ what: "made", name: made.bot.username, token: made.token });
        });
      }}
    >
      <Field
        label={t("username")}
        name="username"
        value={username}
        onInput={(value) => {
          setUsername(value);
          form.clear("username");
        }}
        error={form.problems.username}
        hint={t("bot_username_hint")}
        maxLength={serverConfig.value?.limits.username_length}
        required
        autofocus
      />
      <Field
        label={t("display_name")}
        name="display_name"
        value={name}
        onInput={setName}
        error={form.problems.display_name}
        hint={t("bot_name_hint")}
        maxLength={NAME_LENGTH}
      />
    </FormDialog>
  );
}

function RenameBot(props: { bot: Bot; onRenamed: () => void; onClose: () => void }): JSX.Element {
  const [name, setName] = useState(props.bot.display_name);
  const form = useForm(["display_name"]);
  return (
    <FormDialog
      title={t("rename_bot")}
      form={form}
      action={t("save")}
      onClose={props.onClose}
      onSubmit={() => {
        void form.submit(async () => {
          await api.renameBot(props.bot.id, name.trim());
          props.onRenamed();
        });
      }}
    >
      <Field
        label={t("display_name")}
        name="display_name"
        value={name}
        onInput={setName}
        error={form.problems.display_name}
        hint={t("bot_name_hint")}
        maxLength={NAME_LENGTH}
        autofocus
      />
    </FormDialog>
  );
}
