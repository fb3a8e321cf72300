// How one proves who one is: the password, the second factor, the provider.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Account } from "../../api/types";
import { t } from "../../i18n";
import { api, me, serverConfig } from "../../state/session";
import { report, toast } from "../../state/toasts";
import { Field, Panel, Problem, Spinner } from "../../ui/components";
import { useAsked, useForm } from "../../ui/use";
import { SecondFactor } from "./second-factor";

export function Security(): JSX.Element {
  const account = useAsked(api.me, []);
  if (account.problem !== null) return <Problem text={account.problem} onRetry={account.reload} />;
  if (account.data === null) return <Spinner label={t("loading")} />;
  return (
    <>
      {account.data.has_password && <Password />}
      <SecondFactor account={account.data} onChanged={account.reload} />
      {serverConfig.value?.oidc != null && (
        <Provider name={serverConfig.value.oidc.name} account={account.data} onChanged={account.reload} />
      )}
    </>
  );
}

function Password(): JSX.Element {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const form = useForm(["current_password", "new_password"]);
  const shortest = serverConfig.value?.limits.password_min_length ?? 8;
  return (
    <Panel title={t("password")} text={t("password_text")}>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if ([...next].length < shortest) {
            form.fail({ new_password: t("password_short", { count: shortest }) });
            return;
          }
          void form.submit(async () => {
            await api.changePassword(current, next);
            setCurrent("");
            setNext("");
            toast(t("password_changed"));
          });
        }}
      >
        {form.problems.form !== undefined && <Problem text={form.problems.form} />}
        {/* For those who keep passwords. */}
        <input type="text" autocomplete="username" value={me().username} hidden readOnly />
        <Field
          label={t("current_password")}
          name="current_password"
          type="password"
          value={current}
          onInput={setCurrent}
          error={form.problems.current_password}
          autocomplete="current-password"
        />
        <Field
          label={t("new_password")}
          name="new_password"
          type="password"
          value={next}
          onInput={setNext}
          error={form.problems.new_password}
          hint={t("password_hint", { count: shortest })}
          autocomplete="new-password"
        />
        <div class="cluster">
          <button type="submit" class="button primary" disabled={form.busy || current === "" || next === ""}>
            {t("change_password")}
          </button>
        </div>
      </form>
    </Panel>
  );
}

function Provider(props: { name: string; account: Account; onChanged: () => void }): JSX.Element {
  const { name, account } = props;
  const [password, setPassword] = useState("");
  const form = useForm(["password"]);
  return (
    <Panel title={name} text={t(account.has_oidc ? "provider_linked" : "provider_text", { name })}>
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
      {account.has_oidc ? (
        <div class="cluster">
          <button type="button" class="button" onClick={() => api.oidcUnlink().then(props.onChanged, report)}>
            {t("provider_unlink")}
          </button>
        </div>
      ) : (
        <form
          class="stack"
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            void form.submit(async () => {
              const { url } = await api.oidcLink(password);
              location.assign(url);
            });
          }}
        >
          <Field
            label={t("password")}
            name="password"
            type="password"
            value={password}
            onInput={setPassword}
            error={form.problems.password}
            autocomplete="current-password"
          />
          <div class="cluster">
            <button type="submit" class="button" disabled={form.busy}>
              {t("provider_link")}
            </button>
          </div>
        </form>
      )}
    </Panel>
  );
}
