// Who one is for others: picture and name; and leaving for good.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Me } from "../../api/types";
import { t } from "../../i18n";
import { meet, nameOf } from "../../state/people";
import { api, me, session, setSession } from "../../state/session";
import { toast } from "../../state/toasts";
import { Confirm, Field, Panel, Problem } from "../../ui/components";
import { PicturePicker } from "../../ui/picture";
import { useForm } from "../../ui/use";

const NAME_LENGTH = 150;

export function updateMe(user: Me): void {
  const current = session.peek();
  if (current === null) return;
  setSession({ ...current, user: { ...current.user, ...user } });
  meet([user]);
}

export function Profile(): JSX.Element {
  const user = me();
  return (
    <>
      <Panel title={t("profile")} text={t("profile_text")}>
        <PicturePicker
          name={nameOf(user)}
          seed={user.username}
          src={user.avatar_url}
          onChoose={async (file) => updateMe(await api.setAvatar(file))}
          onRemove={async () => updateMe(await api.removeAvatar())}
        />
        <Name user={user} />
        <dl class="facts">
          <dt>{t("username")}</dt>
          <dd>@{user.username}</dd>
          <dt>{t("email")}</dt>
          <dd>{user.email}</dd>
        </dl>
      </Panel>
      <DeleteAccount />
    </>
  );
}

function Name({ user }: { user: Me }): JSX.Element {
  const [name, setName] = useState(user.display_name);
  const form = useForm(["display_name"]);
  return (
    <form
      class="stack tight"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void form.submit(async () => {
          updateMe(await api.setDisplayName(name.trim()));
          toast(t("saved"));
        });
      }}
    >
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
      <Field
        label={t("display_name")}
        name="display_name"
        value={name}
        onInput={(value) => {
          setName(value);
          form.clear("display_name");
        }}
        error={form.problems.display_name}
        hint={t("display_name_hint")}
        autocomplete="name"
        maxLength={NAME_LENGTH}
      />
      <div class="cluster">
        <button
          type="submit"
          class="button primary"
          disabled={form.busy || name.trim() === user.display_name}
        >
          {t("save")}
        </button>
      </div>
    </form>
  );
}

function DeleteAccount(): JSX.Element {
  const [asking, ask] = useState(false);
  const [password, setPassword] = useState("");
  const form = useForm(["password"]);
  return (
    <Panel title={t("delete_account")} text={t("delete_account_text")}>
      <div class="cluster">
        <button type="button" class="button danger" onClick={() => ask(true)}>
          {t("delete_account_action")}
        </button>
      </div>
      {asking && (
        <Confirm
          title={t("delete_account")}
          text={t("delete_account_sure")}
          action={t("delete_account_action")}
          onClose={() => {
            ask(false);
            form.clear();
          }}
          onConfirm={async () => {
            await form.submit(async () => {
              await api.deleteAccount(password);
              setSession(null);
              toast(t("account_deleted"));
            });
          }}
        >
          {form.problems.form !== undefined && <Problem text={form.problems.form} />}
          <Field
            label={t("password")}
            name="password"
            type="password"
            value={password}
            onInput={setPassword}
            error={form.problems.password}
            autocomplete="current-password"
          />
        </Confirm>
      )}
    </Panel>
  );
}
