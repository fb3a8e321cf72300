// The pieces that every screen is made of (DESIGN.md): buttons, avatars, panels, dialogs, toasts.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { LANGUAGES, type Language, language, setLanguage, t } from "../i18n";
import { dismiss, toasts } from "../state/toasts";
import { Segments } from "./fields";
import { Icon, type IconName } from "./icons";
import type { Problems } from "./use";

export { Field, Segments, Select, Switch, TextArea } from "./fields";
export { Menu, type MenuItem } from "./menu";

export function IconButton(props: {
  icon: IconName;
  label: string;
  onClick: () => void;
  tone?: "plain" | "danger" | "off" | "filled";
  pressed?: boolean;
  disabled?: boolean;
}): JSX.Element {
  return (
    <button
      type="button"
      class={`icon-button ${props.tone ?? "plain"}`}
      title={props.label}
      aria-label={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

/** One of eight colours, the same for a name everywhere. */
function colour(name: string): number {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 8191;
  return sum % 8;
}

/** A person (round) or a room. Silent: the name stands beside it. */
export function Avatar(props: {
  name: string;
  seed: string;
  /** A picture in place of the initial. */
  src?: string | undefined;
  size?: "small" | "large";
  large?: boolean;
  room?: boolean;
  /** A dot; a word beside it says the same. */
  online?: boolean;
}): JSX.Element {
  const [broken, setBroken] = useState(false);
  const { src } = props;
  // Another picture may load where the last one did not
  useEffect(() => setBroken(false), [src]);
  const size = props.large ? "large" : (props.size ?? "");
  const initial = [...props.name.trim()][0]?.toUpperCase() ?? "?";
  return (
    <span
      class={`avatar colour-${colour(props.seed)} ${size}${props.room ? " room-avatar" : ""}`}
      aria-hidden="true"
    >
      {src && !broken ? <img src={src} alt="" loading="lazy" onError={() => setBroken(true)} /> : initial}
      {props.online && <span class="online-dot" />}
    </span>
  );
}

/** A titled card: a part of a screen of settings or facts. */
export function Panel(props: { title: string; text?: string; children: ComponentChildren }): JSX.Element {
  const heading = useId();
  return (
    <section class="panel" aria-labelledby={heading}>
      <header>
        <h2 id={heading}>{props.title}</h2>
        {props.text !== undefined && <p>{props.text}</p>}
      </header>
      {props.children}
    </section>
  );
}

/** A modal dialog of the browser: focus stays inside, Escape closes. */
export function Dialog(props: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  broad?: boolean;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard closes it with Escape
    <dialog
      ref={dialog}
      class={props.broad ? "broad" : undefined}
      aria-labelledby={heading}
      onClose={props.onClose}
      onClick={(event) => {
        // Only the backdrop is the dialog itself.
        if (event.target === event.currentTarget) dialog.current?.close();
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={heading}>{props.title}</h2>
          <IconButton icon="close" label={t("close")} onClick={() => dialog.current?.close()} />
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

/** A dialog that is a form (of `useForm`): what is wrong at none of its fields stands above them. */
export function FormDialog(props: {
  title: string;
  form: { busy: boolean; problems: Problems };
  action: string;
  onSubmit: () => void;
  onClose: () => void;
  children: ComponentChildren;
}): JSX.Element {
  const { busy, problems } = props.form;
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          props.onSubmit();
        }}
      >
        {problems.form !== undefined && <Problem text={problems.form} />}
        {props.children}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={props.onClose}>
            {t("cancel")}
          </button>
          <button type="submit" class="button primary" disabled={busy}>
            {props.action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** A question before something that cannot be taken back. */
export function Confirm(props: {
  title: string;
  text: string;
  action: string;
  onConfirm: () => Promise<void>;
  onClose: () => void;
  children?: ComponentChildren;
}): JSX.Element {
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p>{props.text}</p>
      {props.children}
      <div class="dialog-actions">
        <button type="button" class="button" onClick={props.onClose}>
          {t("cancel")}
        </button>
        <button
          type="button"
          class="button danger"
          disabled={busy}
          onClick={() => {
            setBusy(true);
            void props.onConfirm().finally(() => setBusy(false));
          }}
        >
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}

export function Spinner({ label }: { label: string }): JSX.Element {
  return (
    <div class="spinner" role="status">
      <span class="spinner-ring" aria-hidden="true" />
      <span>{label}</span>
    </div>
  );
}

export function Empty(props: {
  icon: IconName;
  title: string;
  text?: string | undefined;
  children?: ComponentChildren;
}): JSX.Element {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={props.icon} />
      </span>
      <h2>{props.title}</h2>
      {props.text !== undefined && <p>{props.text}</p>}
      {props.children}
    </div>
  );
}

/** What went wrong, and the way to try again. */
export function Problem({ text, onRetry }: { text: string; onRetry?: () => void }): JSX.Element {
  return (
    <p class="form-error" role="alert">
      {text}{" "}
      {onRetry !== undefined && (
        <button type="button" class="link" onClick={onRetry}>
          {t("try_again")}
        </button>
      )}
    </p>
  );
}

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="log" aria-live="polite" aria-label={t("notices")}>
      {toasts.value.map((shown) => (
        <div key={shown.id} class={`toast ${shown.kind}`} role={shown.kind === "error" ? "alert" : "status"}>
          <span>{shown.text}</span>
          <IconButton icon="close" label={t("close")} onClick={() => dismiss(shown.id)} />
        </div>
      ))}
    </div>
  );
}

/** The languages, each in its own; `short`: where there is little room. */
export function LanguageSwitch({ short = true }: { short?: boolean }): JSX.Element {
  return (
    <Segments
      class="languages"
      legend={t("language")}
      shown={!short}
      value={language.value}
      options={(Object.keys(LANGUAGES) as Language[]).map((code) => ({
        value: code,
        text: short ? code.toUpperCase() : LANGUAGES[code],
        ...(short ? { label: `${code.toUpperCase()} ${LANGUAGES[code]}` } : {}),
        lang: code,
      }))}
      onChange={setLanguage}
    />
  );
}
