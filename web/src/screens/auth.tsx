// Sign-in and registration: ordinary, by an invitation into a room, and of the first account, which becomes admin.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { type Key, language, t } from "../i18n";
import { navigate, route } from "../router";
import { api, loadServerConfig, serverConfig, serverConfigFailed, setSession } from "../state/session";
import { explain } from "../state/toasts";
import { Field, LanguageSwitch, Spinner } from "../ui/components";

type Mode = "login" | "register";
const FIELDS = ["username", "email", "password", "invite_code"] as const;
type FieldName = (typeof FIELDS)[number];
type Problems = Partial<Record<FieldName | "form", string>>;

export function AuthScreen(): JSX.Element {
  const where = route.value;
  const setupToken = where.name === "setup" ? where.token : null;
  const registration = serverConfig.value?.registration;
  const [chosen, choose] = useState<Mode | null>(null);
  const initial: Mode = where.name === "setup" || where.name === "join" ? "register" : "login";
  const mayRegister = registration !== "closed" || setupToken !== null;
  const mode = mayRegister ? (chosen ?? initial) : "login";

  const notices: Partial<Record<typeof where.name, Key>> = { join: "auth_invited", setup: "auth_setup" };
  const notice = notices[where.name];
  return (
    <main class="auth">
      <div class="auth-card">
        <header class="auth-head">
          <h1 class="brand">
            <span class="brand-mark" aria-hidden="true" />
            {t("app_name")}
          </h1>
          <LanguageSwitch />
        </header>
        <p class="tagline">{t("tagline")}</p>
        {notice !== undefined && <p class="notice">{t(notice)}</p>}
        {registration === undefined ? (
          <Unknown />
        ) : (
          <>
            {mayRegister && setupToken === null && (
              <div class="segments">
                {(["login", "register"] as const).map((item) => (
                  <button key={item} type="button" aria-pressed={mode === item} onClick={() => choose(item)}>
                    {t(item === "login" ? "sign_in" : "register")}
                  </button>
                ))}
              </div>
            )}
            <AuthForm key={mode} mode={mode} setupToken={setupToken} withCode={registration === "code"} />
            {!mayRegister && <p class="hint">{t("registration_closed")}</p>}
          </>
        )}
      </div>
    </main>
  );
}

/** The server has not said yet who may register. */
function Unknown(): JSX.Element {
  if (!serverConfigFailed.value) return <Spinner label={t("loading")} />;
  return (
    <div class="stack">
      <p class="form-error">{t("error_network")}</p>
      <button type="button" class="button" onClick={() => void loadServerConfig()}>
        {t("try_again")}
      </button>
    </div>
  );
}

function AuthForm(props: { mode: Mode; setupToken: string | null; withCode: boolean }): JSX.Element {
  const { mode, setupToken } = props;
  const [values, setValues] = useState<Record<FieldName, string>>({
    username: "",
    email: "",
    password: "",
    invite_code: "",
  });
  const [problems, setProblems] = useState<Problems>({});
  const [busy, setBusy] = useState(false);
  const withCode = props.withCode && setupToken === null;
  const fields =
    mode === "login"
      ? (["username", "password"] as const)
      : FIELDS.filter((name) => name !== "invite_code" || withCode);
  const limits = serverConfig.value?.limits;

  // A message in the language that was just left is worse than none.
  // Runs when the language changes
  useEffect(() => setProblems({}), [language.value]);

  function check(): Problems {
    const found: Problems = {};
    for (const name of fields) if (values[name].trim() === "") found[name] = t("field_required");
    const shortest = limits?.password_min_length ?? 0;
    if (mode === "register" && found.password === undefined && [...values.password].length < shortest) {
      found.password = t("password_short", { count: shortest });
    }
    if (mode === "register" && found.email === undefined && !/^\S+@\S+$/.test(values.email.trim())) {
      found.email = t("email_invalid");
    }
    return found;
  }

  async function submit(): Promise<void> {
    const found = check();
    setProblems(found);
    if (Object.keys(found).length > 0 || busy) return;
    setBusy(true);
    try {
      const username = values.username.trim();
      const session =
        mode === "login"
          ? await api.login(username, values.password, "")
          : await api.register({
              username,
              email: values.email.trim(),
              password: values.password,
              ...(withCode ? { invite_code: values.invite_code.trim() } : {}),
              ...(setupToken !== null ? { setup_token: setupToken } : {}),
            });
      // The one-time link stays in no history.
      if (setupToken !== null) navigate("#/", true);
      setSession(session);
    } catch (error) {
      setBusy(false);
      setProblems(problemsOf(error, fields));
    }
  }

  const set = (name: FieldName) => (value: string) => {
    setValues({ ...values, [name]: value });
    if (problems[name] !== undefined) setProblems({ ...problems, [name]: undefined });
  };

  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      {problems.form !== undefined && (
        <p class="form-error" role="alert">
          {problems.form}
        </p>
      )}
      <Field
        label={t(mode === "login" ? "username_or_email" : "username")}
        name="username"
        value={values.username}
        onInput={set("username")}
        error={problems.username}
        autocomplete="username"
        maxLength={mode === "register" ? limits?.username_length : undefined}
        required
        autofocus
      />
      {mode === "register" && (
        <Field
          label={t("email")}
          name="email"
          type="email"
          value={values.email}
          onInput={set("email")}
          error={problems.email}
          autocomplete="email"
          required
        />
      )}
      <Field
        label={t("password")}
        name="password"
        type="password"
        value={values.password}
        onInput={set("password")}
        error={problems.password}
        hint={
          mode === "register" && limits !== undefined
            ? t("password_hint", { count: limits.password_min_length })
            : undefined
        }
        autocomplete={mode === "login" ? "current-password" : "new-password"}
        required
      />
      {mode === "register" && withCode && (
        <Field
          label={t("invite_code")}
          name="invite_code"
          value={values.invite_code}
          onInput={set("invite_code")}
          error={problems.invite_code}
          hint={t("invite_code_hint")}
          required
        />
      )}
      <button type="submit" class="button primary wide" disabled={busy}>
        {t(mode === "login" ? "sign_in_action" : "register_action")}
      </button>
    </form>
  );
}

/** Each message at its field; what belongs to no field that is shown stands above the form. */
function problemsOf(error: unknown, shown: readonly FieldName[]): Problems {
  if (!(error instanceof ApiError) || Object.keys(error.fields).length === 0) return { form: explain(error) };
  const problems: Problems = {};
  for (const [name, message] of Object.entries(error.fields)) {
    const at = shown.find((field) => field === name) ?? "form";
    problems[at] = [problems[at], message].filter(Boolean).join(" ");
  }
  return problems;
}
