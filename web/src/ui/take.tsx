// What a person takes along: a text with the button that copies it, and the dialog of what is shown only once.

import type { JSX } from "preact";
import { t } from "../i18n";
import { Dialog } from "./components";
import { copyText } from "./copy";

export function CopyField({ label, value }: { label: string; value: string }): JSX.Element {
  return (
    <form
      class="copy"
      onSubmit={(event) => {
        event.preventDefault();
        void copyText(value, event.currentTarget.querySelector("input"));
      }}
    >
      <input
        class="input"
        aria-label={label}
        value={value}
        readOnly
        onFocus={(event) => event.currentTarget.select()}
      />
      <button type="submit" class="button primary">
        {t("copy")}
      </button>
    </form>
  );
}

/** A secret right after it was made: nobody can show it again. */
export function ShownOnce(props: {
  title: string;
  text: string;
  label: string;
  value: string;
  onClose: () => void;
}): JSX.Element {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div class="stack">
        <p class="notice warn">{props.text}</p>
        <CopyField label={props.label} value={props.value} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick={props.onClose}>
            {t("kept_it")}
          </button>
        </div>
      </div>
    </Dialog>
  );
}
