// Coming in: by password and second factor, by the provider, by a link for a new password; and registration, ordinary, by an
// invitation into a room, and of the first account, which becomes admin.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../api/client";
import { type Key, language, t } from "../i18n";
import { navigate, type Route, route } from "../router";
import { api, loadServerConfig, serverConfig, serverConfigFailed, setSession } from "../state/session";
import { Field, LanguageSwitch, Problem, Segments, Spinner } from "../ui/components";
import { type Problems, useForm } from "../ui/use";

type Mode = "login" | "register";
const FIELDS = ["username", "email", "password", "invite_code"] as const;
type FieldName = (typeof FIELDS)[number];

const NOTICES: Partial<Record<Route["name"], Key>> = { join: "auth_invited", setup: "auth_setup" };
const OIDC_ERRORS: Record<string, Key> = {
  oidc_denied: "oidc_denied",
  oidc_state: "oidc_state",
  oidc_unavailable: "oidc_unavailable",
  oidc_taken: "oidc_taken",
  registration_closed: "oidc_closed",
};

export function AuthScreen(): JSX.Element {
  const where = route.value;
  const registration = serverConfig.value?.registration;
  const notice = NOTICES[where.name];
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
        {where.name === "reset" ? (
          <Reset token={where.token} />
        ) : where.name === "oidc" ? (
          <OidcReturn code={where.token} />
        ) : (
          <>
            <p class="tagline">{t("tagline")}</p>
            {notice !== undefined && <p class="notice">{t(notice)}</p>}
            {where.name === "oidc-error" && <Problem text={t(OIDC_ERRORS[where.word] ?? "oidc_failed")} />}
            {registration === undefined ? (
              <Unknown />
            ) : (
              <Entrance
                registration={registration}
                setupToken={where.name === "setup" ? where.token : null}
                begin={where.name === "setup" || where.name === "join" ? "register" : "login"}
              />
            )}
          </>
        )}
      </div>
    </main>
  );
}

/** The server has not said yet who may register. */
function Unknown(): JSX.Element {
  if (!serverConfigFailed.value) return <Spinner label={t("loading")} />;
  return <Problem text={t("error_network")} onRetry={() => void loadServerConfig()} />;
}

function Entrance(props: {
  registration: "code" | "open" | "closed";
  setupToken: string | null;
  begin: Mode;
}): JSX.Element {
  const { registration, setupToken } = props;
  const [chosen, choose] = useState<Mode | null>(null);
  const mayRegister = registration !== "closed" || setupToken !== null;
  const mode = mayRegister ? (chosen ?? props.begin) : "login";
  const oidc = serverConfig.value?.oidc;
  return (
    <>
      {mayRegister && setupToken === null && (
        <Segments
          legend={t("sign_in_or_register")}
          value={mode}
          onChange={choose}
          options={[
            { value: "login", text: t("sign_in") },
            { value: "register", text: t("register") },
          ]}
        />
      )}
      {mode === "login" ? (
        <LoginForm />
      ) : (
        <RegisterForm setupToken={setupToken} withCode={registration === "code" && setupToken === null} />
      )}
      {!mayRegister && <p class="hint">{t("registration_closed")}</p>}
      {oidc != null && setupToken === null && (
        <>
          <p class="or">{t("or")}</p>
          <a class="button wide" href="/api/auth/oidc/start/">
            {t("sign_in_by", { name: oidc.name })}
          </a>
        </>
      )}
    </>
  );
}

function Form(props: {
  problems: Problems;
  busy: boolean;
  action: string;
  onSubmit: () => void;
  children: ComponentChildren;
}): JSX.Element {
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        props.onSubmit();
      }}
    >
      {props.problems.form !== undefined && <Problem text={props.problems.form} />}
      {props.children}
      <button type="submit" class="button primary wide" disabled={props.busy}>
        {props.action}
      </button>
    </form>
  );
}

const isWanted = (error: unknown): boolean =>
  error instanceof ApiError && error.code === "second_factor_required";

/** A form in which the server may ask for a code as well: then there is a field for it. */
function useSecondFactor() {
  const [wanted, want] = useState(false);
  const [code, setCode] = useState("");
  return {
    code: wanted ? code.trim() : "",
    /** Does `work`; where a code is wanted, shows the field instead of an error. */
    guard: async (work: () => Promise<void>) => {
      try {
        await work();
      } catch (error) {
        if (isWanted(error) && !wanted) {
          want(true);
          return;
        }
        if (error instanceof ApiError && error.code === "wrong_code")
          throw new ApiError(error.status, error.detail, { code: error.detail }, error.code);
        throw error;
      }
    },
    field: (problem: string | undefined) =>
      wanted && (
        <Field
          label={t("authenticator_or_recovery_code")}
          name="code"
          value={code}
          onInput={setCode}
          error={problem}
          hint={t("second_factor_hint")}
          autocomplete="one-time-code"
          required
          autofocus
        />
      ),
  };
}

/** A message in the language that was just left is worse than none. */
function useForget(clear: () => void): void {
  // Runs when the language changes
  useEffect(clear, [language.value]);
}

function LoginForm(): JSX.Element {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const form = useForm(["username", "password", "code"]);
  const factor = useSecondFactor();
  useForget(form.clear);

  function submit(): void {
    const found: Problems = {};
    if (name.trim() === "") found.username = t("field_required");
    if (password === "") found.password = t("field_required");
    if (Object.keys(found).length > 0) {
      form.fail(found);
      return;
    }
    void form.submit(() =>
      factor.guard(async () => setSession(await api.login(name.trim(), password, factor.code))),
    );
  }

  return (
    <Form problems={form.problems} busy={form.busy} action={t("sign_in_action")} onSubmit={submit}>
      <Field
        label={t("username_or_email")}
        name="username"
        value={name}
        onInput={(value) => {
          setName(value);
          form.clear("username");
        }}
        error={form.problems.username}
        autocomplete="username"
        required
        autofocus
      />
      <Field
        label={t("password")}
        name="password"
        type="password"
        value={password}
        onInput={(value) => {
          setPassword(value);
          form.clear("password");
        }}
        error={form.problems.password}
        autocomplete="current-password"
        required
      />
      {factor.field(form.problems.code)}
    </Form>
  );
}

function RegisterForm(props: { setupToken: string | null; withCode: boolean }): JSX.Element {
  const { setupToken, withCode } = props;
  const [values, setValues] = useState<Record<FieldName, string>>({
    username: "",
    email: "",
    password: "",
    invite_code: "",
  });
  const fields = FIELDS.filter((name) => name !== "invite_code" || withCode);
  const form = useForm(fields);
  const limits = serverConfig.value?.limits;
  useForget(form.clear);

  function check(): Problems {
    const found: Problems = {};
    for (const name of fields) if (values[name].trim() === "") found[name] = t("field_required");
    const shortest = limits?.password_min_length ?? 0;
    if (found.password === undefined && [...values.password].length < shortest)
      found.password = t("password_short", { count: shortest });
    if (found.email === undefined && !/^\S+@\S+$/.test(values.email.trim())) found.email = t("email_invalid");
    return found;
  }

  function submit(): void {
    const found = check();
    if (Object.keys(found).length > 0) {
      form.fail(found);
      return;
    }
    void form.submit(async () => {
      const session = await api.register({
        username: values.username.trim(),
        email: values.email.trim(),
        password: values.password,
        ...(withCode ? { invite_code: values.invite_code.trim() } : {}),
        ...(setupToken !== null ? { setup_token: setupToken } : {}),
      });
      // The one-time link stays in no history.
      if (setupToken !== null) navigate("#/", true);
      setSession(session);
    });
  }

  const bind = (name: FieldName) => ({
    name,
    value: values[name],
    error: form.problems[name],
    required: true,
    onInput: (value: string) => {
      setValues({ ...values, [name]: value });
      form.clear(name);
    },
  });

  return (
    <Form problems={form.problems} busy={form.busy} action={t("register_action")} onSubmit={submit}>
      <Field
        {...bind("username")}
        label={t("username")}
        autocomplete="username"
        maxLength={limits?.username_length}
        autofocus
      />
      <Field {...bind("email")} label={t("email")} type="email" autocomplete="email" />
      <Field
        {...bind("password")}
        label={t("password")}
        type="password"
        hint={limits === undefined ? undefined : t("password_hint", { count: limits.password_min_length })}
        autocomplete="new-password"
      />
      {withCode && <Field {...bind("invite_code")} label={t("invite_code")} hint={t("invite_code_hint")} />}
    </Form>
  );
}

/** A new password, by the link of an administrator. */
function Reset({ token }: { token: string }): JSX.Element {
  const [password, setPassword] = useState("");
  const form = useForm(["password", "code"]);
  const factor = useSecondFactor();
  const shortest = serverConfig.value?.limits.password_min_length ?? 8;
  useForget(form.clear);

  function submit(): void {
    if ([...password].length < shortest) {
      form.fail({ password: t("password_short", { count: shortest }) });
      return;
    }
    void form.submit(() =>
      factor.guard(async () => {
        const session = await api.reset(token, password, factor.code);
        navigate("#/", true);
        setSession(session);
      }),
    );
  }

  return (
    <>
      <p class="tagline">{t("reset_text")}</p>
      <Form problems={form.problems} busy={form.busy} action={t("reset_action")} onSubmit={submit}>
        <Field
          label={t("new_password")}
          name="password"
          type="password"
          value={password}
          onInput={(value) => {
            setPassword(value);
            form.clear("password");
          }}
          error={form.problems.password}
          hint={t("password_hint", { count: shortest })}
          autocomplete="new-password"
          required
          autofocus
        />
        {factor.field(form.problems.code)}
      </Form>
      <a href="#/">{t("to_sign_in")}</a>
    </>
  );
}

/** Back from the provider: its code becomes a session, perhaps with a second factor. */
function OidcReturn({ code }: { code: string }): JSX.Element {
  const form = useForm(["code"]);
  const factor = useSecondFactor();
  const finish = () =>
    void form.submit(() =>
      factor.guard(async () => {
        const session = await api.oidcFinish(code, factor.code);
        navigate("#/", true);
        setSession(session);
      }),
    );
  // At once; the code is good for a minute
  useEffect(finish, []);
  const field = factor.field(form.problems.code);
  return (
    <>
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
      {field === false && form.problems.form === undefined && <Spinner label={t("signing_in")} />}
      {field !== false && (
        <Form problems={{}} busy={form.busy} action={t("sign_in_action")} onSubmit={finish}>
          {field}
        </Form>
      )}
      {form.problems.form !== undefined && <a href="#/">{t("to_sign_in")}</a>}
    </>
  );
}
