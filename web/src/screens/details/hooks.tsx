// Webhooks of a room: programs that may write here, each by a URL that holds its secret.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Hook, Room } from "../../api/types";
import { formatShort, t } from "../../i18n";
import { nameOf } from "../../state/people";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import {
  Avatar,
  Confirm,
  Dialog,
  Empty,
  Field,
  FormDialog,
  Menu,
  Problem,
  Spinner,
} from "../../ui/components";
import { Icon } from "../../ui/icons";
import { PicturePicker } from "../../ui/picture";
import { ShownOnce } from "../../ui/take";
import { useAsked, useForm } from "../../ui/use";

const NAME_LENGTH = 100;

type Asked = { what: "edit" | "renew" | "delete"; hook: Hook } | { what: "made"; name: string; url: string };

const seedOf = (hook: Hook): string => `hook ${hook.id}`;

export function Hooks({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const hooks = useAsked(() => api.hooks(room.id), [room.id]);
  const [asked, ask] = useState<Asked | null>(null);
  const close = () => ask(null);
  const act = async (work: () => Promise<Asked | null>) => {
    try {
      ask(await work());
      hooks.reload();
    } catch (error) {
      report(error);
    }
  };
  return (
    <>
      <Dialog title={t("hooks")} onClose={onClose}>
        <div class="stack">
          <p>{t("hooks_text")}</p>
          <AddHook
            room={room}
            onMade={(made) => {
              ask({ what: "made", ...made });
              hooks.reload();
            }}
          />
          {hooks.problem !== null && <Problem text={hooks.problem} onRetry={hooks.reload} />}
          {hooks.data === null && hooks.problem === null && <Spinner label={t("loading")} />}
          {hooks.data?.length === 0 && <Empty icon="code" title={t("hooks_empty")} />}
          <ul class="found">
            {hooks.data?.map((hook) => (
              <li key={hook.id} class="row wraps" data-hook={hook.name}>
                <Avatar name={hook.name} seed={seedOf(hook)} src={hook.avatar_url} />
                <span class="who">
                  <span class="who-name">{hook.name}</span>
                  <span class="who-note">
                    {t("made_by", {
                      name: nameOf(hook.made_by),
                      date: formatShort(new Date(hook.created_at)),
                    })}
                  </span>
                  <span class="who-note">
                    {hook.last_used_at === null
                      ? t("never_used")
                      : t("last_used", { date: formatShort(new Date(hook.last_used_at)) })}
                  </span>
                </span>
                <Menu
                  label={t("actions_for", { name: hook.name })}
                  items={() => [
                    { icon: "edit", text: t("edit_hook"), onClick: () => ask({ what: "edit", hook }) },
                    { icon: "key", text: t("new_hook_url"), onClick: () => ask({ what: "renew", hook }) },
                    {
                      icon: "trash",
                      text: t("delete_hook"),
                      danger: true,
                      onClick: () => ask({ what: "delete", hook }),
                    },
                  ]}
                >
                  <Icon name="more" />
                </Menu>
              </li>
            ))}
          </ul>
        </div>
      </Dialog>
      {asked?.what === "edit" && (
        <EditHook room={room} hook={asked.hook} onChanged={hooks.reload} onClose={close} />
      )}
      {asked?.what === "renew" && (
        <Confirm
          title={t("new_hook_url")}
          text={t("new_hook_url_text", { name: asked.hook.name })}
          action={t("make_url")}
          onClose={close}
          onConfirm={() =>
            act(async () => {
              const { url } = await api.renewHook(room.id, asked.hook.id);
              return { what: "made", name: asked.hook.name, url };
            })
          }
        />
      )}
      {asked?.what === "delete" && (
        <Confirm
          title={t("delete_hook")}
          text={t("delete_hook_text", { name: asked.hook.name })}
          action={t("delete")}
          onClose={close}
          onConfirm={() =>
            act(async () => {
              await api.deleteHook(room.id, asked.hook.id);
              return null;
            })
          }
        />
      )}
      {asked?.what === "made" && (
        <ShownOnce
          title={t("hook_url_of", { name: asked.name })}
          text={t("hook_url_once")}
          label={t("hook_url_of", { name: asked.name })}
          value={asked.url}
          onClose={close}
        />
      )}
    </>
  );
}

function AddHook(props: { room: Room; onMade: (made: { name: string; url: string }) => void }): JSX.Element {
  const [name, setName] = useState("");
  const form = useForm(["name"]);
  return (
    <form
      class="stack tight"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void form.submit(async () => {
          const { hook, url } = await api.addHook(props.room.id, name.trim());
          setName("");
          props.onMade({ name: hook.name, url });
        });
      }}
    >
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
      <Field
        label={t("hook_name")}
        name="name"
        value={name}
        onInput={(value) => {
          setName(value);
          form.clear("name");
        }}
        error={form.problems.name}
        hint={t("hook_name_hint")}
        maxLength={NAME_LENGTH}
      />
      <div class="cluster">
        <button type="submit" class="button primary" disabled={form.busy || name.trim() === ""}>
          <Icon name="plus" />
          {t("add_hook")}
        </button>
      </div>
    </form>
  );
}

function EditHook(props: {
  room: Room;
  hook: Hook;
  onChanged: () => void;
  onClose: () => void;
}): JSX.Element {
  const [hook, setHook] = useState(props.hook);
  const [name, setName] = useState(hook.name);
  const form = useForm(["name"]);
  const take = async (changed: Promise<Hook>) => {
    setHook(await changed);
    props.onChanged();
  };
  return (
    <FormDialog
      title={t("edit_hook")}
      form={form}
      action={t("save")}
      onClose={props.onClose}
      onSubmit={() => {
        void form.submit(async () => {
          await take(api.renameHook(props.room.id, hook.id, name.trim()));
          props.onClose();
        });
      }}
    >
      <PicturePicker
        name={hook.name}
        seed={seedOf(hook)}
        src={hook.avatar_url}
        onChoose={(file) => take(api.setHookPicture(props.room.id, hook.id, file))}
        onRemove={() => take(api.removeHookPicture(props.room.id, hook.id))}
      />
      <Field
        label={t("hook_name")}
        name="name"
        value={name}
        onInput={setName}
        error={form.problems.name}
        maxLength={NAME_LENGTH}
        autofocus
      />
    </FormDialog>
  );
}
