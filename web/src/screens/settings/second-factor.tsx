// The second factor: set up with a QR code that is drawn here, proven by a code, and its recovery codes, shown once.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { encode } from "uqr";
import type { Account, TotpSetup } from "../../api/types";
import { t } from "../../i18n";
import { api, me } from "../../state/session";
import { Field, IconButton, Panel, Problem } from "../../ui/components";
import { copyText } from "../../ui/copy";
import { Icon } from "../../ui/icons";
import { useForm } from "../../ui/use";

export function SecondFactor(props: { account: Account; onChanged: () => void }): JSX.Element {
  const { account, onChanged } = props;
  const [setup, setSetup] = useState<TotpSetup | null>(null);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  return (
    <Panel title={t("second_factor")} text={t("second_factor_text")}>
      {codes !== null ? (
        <RecoveryCodes
          codes={codes}
          onDone={() => {
            setCodes(null);
            setSetup(null);
            onChanged();
          }}
        />
      ) : account.has_totp ? (
        <Off account={account} onChanged={onChanged} />
      ) : setup === null ? (
        <Begin account={account} onBegun={setSetup} />
      ) : (
        <Prove setup={setup} onProven={setCodes} onCancel={() => setSetup(null)} />
      )}
    </Panel>
  );
}

function Begin({ account, onBegun }: { account: Account; onBegun: (setup: TotpSetup) => void }): JSX.Element {
  const [password, setPassword] = useState("");
  const form = useForm(["password"]);
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void form.submit(async () => onBegun(await api.beginTotp(password)));
      }}
    >
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
      {account.has_password && (
        <Field
          label={t("password_to_begin")}
          name="password"
          type="password"
          value={password}
          onInput={setPassword}
          error={form.problems.password}
          autocomplete="current-password"
        />
      )}
      <div class="cluster">
        <button type="submit" class="button" disabled={form.busy}>
          {t("second_factor_set_up")}
        </button>
      </div>
    </form>
  );
}

/** Light modules on white around it, in both themes: that is what cameras read. */
function QrCode({ text, label }: { text: string; label: string }): JSX.Element {
  const { data, size } = encode(text, { border: 2 });
  const path = data
    .flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : [])))
    .join("");
  return (
    <svg
      class="qr"
      viewBox={`0 0 ${size} ${size}`}
      role="img"
      aria-label={label}
      shape-rendering="crispEdges"
    >
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}

function Prove(props: {
  setup: TotpSetup;
  onProven: (codes: readonly string[]) => void;
  onCancel: () => void;
}): JSX.Element {
  const { setup } = props;
  const [code, setCode] = useState("");
  const form = useForm(["code"]);
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void form.submit(async () => props.onProven((await api.confirmTotp(code.trim())).recovery_codes));
      }}
    >
      <p>{t("second_factor_scan")}</p>
      <QrCode text={setup.uri} label={t("qr_code")} />
      <div class="cluster">
        <code class="secret">{setup.secret.replace(/(.{4})(?=.)/g, "$1 ")}</code>
        <IconButton icon="copy" label={t("copy_secret")} onClick={() => void copyText(setup.secret)} />
      </div>
      <Field
        label={t("authenticator_code")}
        name="code"
        value={code}
        onInput={(value) => {
          setCode(value);
          form.clear();
        }}
        error={form.problems.code ?? form.problems.form}
        autocomplete="one-time-code"
        inputMode="numeric"
        autofocus
      />
      <div class="cluster">
        <button type="submit" class="button primary" disabled={form.busy || code.trim() === ""}>
          {t("turn_on")}
        </button>
        <button type="button" class="button quiet" onClick={props.onCancel}>
          {t("cancel")}
        </button>
      </div>
    </form>
  );
}

function RecoveryCodes({ codes, onDone }: { codes: readonly string[]; onDone: () => void }): JSX.Element {
  const text = codes.join("\n");
  return (
    <div class="stack">
      <p class="notice good">{t("recovery_codes_text")}</p>
      <ul class="codes" aria-label={t("recovery_codes")}>
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <div class="cluster">
        <button type="button" class="button" onClick={() => void copyText(text)}>
          <Icon name="copy" />
          {t("copy")}
        </button>
        <a
          class="button"
          href={URL.createObjectURL(new Blob([`${text}\n`], { type: "text/plain" }))}
          download={`${location.hostname}-${me().username}-recovery-codes.txt`}
        >
          <Icon name="download" />
          {t("download")}
        </a>
        <button type="button" class="button primary" onClick={onDone}>
          {t("codes_kept")}
        </button>
      </div>
    </div>
  );
}

function Off({ account, onChanged }: { account: Account; onChanged: () => void }): JSX.Element {
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const form = useForm(["password", "code"]);
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void form.submit(async () => {
          await api.endTotp(password, code.trim());
          onChanged();
        });
      }}
    >
      <p>
        <span class="tag good">{t("on")}</span> {t("recovery_codes_left", { count: account.recovery_codes })}
      </p>
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
      {account.has_password && (
        <Field
          label={t("password")}
          name="password"
          type="password"
          value={password}
          onInput={setPassword}
          error={form.problems.password}
          autocomplete="current-password"
        />
      )}
      <Field
        label={t("authenticator_or_recovery_code")}
        name="code"
        value={code}
        onInput={setCode}
        error={form.problems.code}
        autocomplete="one-time-code"
      />
      <div class="cluster">
        <button type="submit" class="button danger" disabled={form.busy || code.trim() === ""}>
          {t("turn_off")}
        </button>
      </div>
    </form>
  );
}
