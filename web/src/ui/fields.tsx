// Controls with a label, and one line beneath: what is wrong, or else what helps.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface Labelled {
  label: string;
  error?: string | undefined;
  hint?: string | undefined;
}

function Note({ id, error, hint }: { id: string; error: string | undefined; hint: string | undefined }) {
  const note = error ?? hint;
  if (note === undefined) return null;
  return (
    <p id={`${id}-note`} class={error === undefined ? "hint" : "field-error"}>
      {note}
    </p>
  );
}

const describedBy = (id: string, { error, hint }: Labelled): string | undefined =>
  error === undefined && hint === undefined ? undefined : `${id}-note`;

export function Field(
  props: Labelled & {
    name: string;
    value: string;
    onInput: (value: string) => void;
    type?: "text" | "email" | "password" | "search" | "number";
    autocomplete?: string;
    inputMode?: "numeric";
    placeholder?: string;
    required?: boolean;
    minLength?: number | undefined;
    maxLength?: number | undefined;
    autofocus?: boolean;
  },
): JSX.Element {
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (props.autofocus) input.current?.focus();
  }, [props.autofocus]);
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <input
        ref={input}
        id={id}
        name={props.name}
        // The typings list each kind of input apart.
        type={(props.type ?? "text") as "text"}
        value={props.value}
        autocomplete={props.autocomplete ?? "off"}
        inputMode={props.inputMode}
        placeholder={props.placeholder}
        required={props.required}
        minLength={props.minLength}
        maxLength={props.maxLength}
        // A dialog that opens gives the focus to the field that has this; elsewhere the effect above does.
        autofocus={props.autofocus}
        aria-invalid={props.error !== undefined}
        aria-describedby={describedBy(id, props)}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      <Note id={id} error={props.error} hint={props.hint} />
    </div>
  );
}

export function TextArea(
  props: Labelled & {
    name: string;
    value: string;
    onInput: (value: string) => void;
    rows?: number;
    maxLength?: number | undefined;
  },
): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <textarea
        id={id}
        name={props.name}
        rows={props.rows ?? 3}
        value={props.value}
        maxLength={props.maxLength}
        aria-invalid={props.error !== undefined}
        aria-describedby={describedBy(id, props)}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      <Note id={id} error={props.error} hint={props.hint} />
    </div>
  );
}

export function Select<T extends string>(
  props: Labelled & {
    value: T;
    options: readonly { value: T; text: string }[];
    onChange: (value: T) => void;
  },
): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select
        id={id}
        value={props.value}
        aria-describedby={describedBy(id, props)}
        onChange={(event) => props.onChange(event.currentTarget.value as T)}
      >
        {props.options.map(({ value, text }) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
      <Note id={id} error={props.error} hint={props.hint} />
    </div>
  );
}

/** Something that is on or off, at once. */
export function Switch(props: {
  label: string;
  hint?: string | undefined;
  checked: boolean;
  disabled?: boolean;
  onChange: (checked: boolean) => void;
}): JSX.Element {
  const id = useId();
  return (
    <label class="switch" for={id}>
      <span>
        <span>{props.label}</span>
        {props.hint !== undefined && (
          <span class="hint" id={`${id}-note`}>
            {props.hint}
          </span>
        )}
      </span>
      <input
        id={id}
        type="checkbox"
        role="switch"
        aria-checked={props.checked}
        checked={props.checked}
        disabled={props.disabled}
        aria-describedby={props.hint === undefined ? undefined : `${id}-note`}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
    </label>
  );
}

/** One of a few, all in sight. */
export function Segments<T extends string>(props: {
  legend: string;
  value: T;
  options: readonly { value: T; text: ComponentChildren; label?: string; lang?: string }[];
  onChange: (value: T) => void;
  class?: string;
  /** Whether the legend is for the eye as well. */
  shown?: boolean;
}): JSX.Element {
  return (
    <fieldset class="field">
      <legend class={props.shown ? undefined : "visually-hidden"}>{props.legend}</legend>
      <div class={`segments ${props.class ?? ""}`}>
        {props.options.map(({ value, text, label, lang }) => (
          <button
            key={value}
            type="button"
            lang={lang}
            aria-label={label}
            aria-pressed={props.value === value}
            onClick={() => props.onChange(value)}
          >
            {text}
          </button>
        ))}
      </div>
    </fieldset>
  );
}
