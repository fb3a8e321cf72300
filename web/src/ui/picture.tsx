// A picture that stands for somebody or something: as it is, another one, or none.

import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { t } from "../i18n";
import { Avatar, Problem } from "./components";
import { useForm } from "./use";

export function PicturePicker(props: {
  name: string;
  seed: string;
  src: string;
  onChoose: (file: File) => Promise<void>;
  onRemove: () => Promise<void>;
}): JSX.Element {
  const picker = useRef<HTMLInputElement>(null);
  const form = useForm([]);
  return (
    <div class="stack tight">
      <div class="cluster">
        <Avatar name={props.name} seed={props.seed} src={props.src} large />
        <input
          ref={picker}
          type="file"
          accept="image/png,image/jpeg,image/gif,image/webp"
          hidden
          aria-label={t("choose_picture")}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            event.currentTarget.value = "";
            if (file !== undefined) void form.submit(() => props.onChoose(file));
          }}
        />
        <button type="button" class="button" disabled={form.busy} onClick={() => picker.current?.click()}>
          {t("choose_picture")}
        </button>
        {props.src !== "" && (
          <button
            type="button"
            class="button quiet"
            disabled={form.busy}
            onClick={() => void form.submit(props.onRemove)}
          >
            {t("remove_picture")}
          </button>
        )}
      </div>
      {form.problems.form !== undefined && <Problem text={form.problems.form} />}
    </div>
  );
}
