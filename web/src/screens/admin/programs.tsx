// Other programs that use the relay: each has a secret, which is made, replaced and ended here.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { RelaySecret, RelaySecretText } from "../../api/types";
import { formatShort, formatSize, t } from "../../i18n";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import {
  Confirm,
  Empty,
  Field,
  FormDialog,
  Menu,
  Panel,
  Problem,
  Select,
  Spinner,
} from "../../ui/components";
import { Icon } from "../../ui/icons";
import { ShownOnce } from "../../ui/take";
import { useAsked, useForm } from "../../ui/use";

const NAME_LENGTH = 64;
const GIB = 2 ** 30;
/** Seconds for which the secret before is taken as well. */
const KEPT = { none: 0, hour: 3_600, day: 86_400, week: 604_800 } as const;

export function Programs(): JSX.Element {
  const programs = useAsked(api.relaySecrets, []);
  const [adding, add] = useState(false);
  const [renewing, renew] = useState<RelaySecret | null>(null);
  const [ending, end] = useState<RelaySecret | null>(null);
  const [made, setMade] = useState<RelaySecretText | null>(null);
  const show = (fresh: RelaySecretText) => {
    add(false);
    renew(null);
    setMade(fresh);
    programs.reload();
  };
  return (
    <Panel title={t("programs")} text={t("programs_text")}>
      {programs.problem !== null && <Problem text={programs.problem} onRetry={programs.reload} />}
      {programs.data === null && programs.problem === null && <Spinner label={t("loading")} />}
      {programs.data?.length === 0 && <Empty icon="key" title={t("programs_empty")} />}
      <ul class="found">
        {programs.data?.map((program) => (
          <li key={program.name} class="row wraps" data-program={program.name}>
            <Icon name="key" />
            <span class="who">
              <span class="who-name">{program.name}</span>
              <span class="who-note">
                {limits(program)} · {t("made_at", { date: formatShort(new Date(program.created_at)) })}
              </span>
              {isKept(program) && (
                <span class="who-note">
                  {t("old_secret_until", { date: formatShort(new Date(program.previous_until)) })}
                </span>
              )}
            </span>
            <Menu
              label={t("actions_for", { name: program.name })}
              items={() => [
                { icon: "key", text: t("new_secret"), onClick: () => renew(program) },
                { icon: "ban", text: t("end_secret"), danger: true, onClick: () => end(program) },
              ]}
            >
              <Icon name="more" />
            </Menu>
          </li>
        ))}
      </ul>
      <div class="cluster">
        <button type="button" class="button primary" onClick={() => add(true)}>
          <Icon name="plus" />
          {t("add_program")}
        </button>
      </div>
      {adding && <AddProgram onMade={show} onClose={() => add(false)} />}
      {renewing !== null && <NewSecret program={renewing} onMade={show} onClose={() => renew(null)} />}
      {ending !== null && (
        <Confirm
          title={t("end_secret_title", { name: ending.name })}
          text={t("end_secret_text")}
          action={t("end_secret")}
          onClose={() => end(null)}
          onConfirm={async () => {
            await api.revokeRelaySecret(ending.name).catch(report);
            end(null);
            programs.reload();
          }}
        />
      )}
      {made !== null && (
        <ShownOnce
          title={t("secret_of", { name: made.name })}
          text={t("secret_once")}
          label={t("secret_of", { name: made.name })}
          value={made.secret}
          onClose={() => setMade(null)}
        />
      )}
    </Panel>
  );
}

function limits({ max_allocations: count, max_bytes_per_month: bytes }: RelaySecret): string {
  const said = [
    count !== null && t("limit_allocations", { count }),
    bytes !== null && t("limit_month", { size: formatSize(bytes) }),
  ].filter(Boolean);
  return said.length === 0 ? t("no_limit") : said.join(", ");
}

const isKept = (program: RelaySecret): program is RelaySecret & { previous_until: string } =>
  program.previous_until !== null && new Date(program.previous_until) > new Date();

function AddProgram(props: { onMade: (made: RelaySecretText) => void; onClose: () => void }): JSX.Element {
  const [name, setName] = useState("");
  const [allocations, setAllocations] = useState("");
  const [gib, setGib] = useState("");
  const form = useForm(["name", "max_allocations", "max_bytes_per_month"]);

  function submit(): void {
    const wrong = (text: string) =>
      /^([1-9]\d*)?$/.test(text.trim()) ? undefined : t("field_whole_or_empty");
    const problems = {
      name: name.trim() === "" ? t("field_required") : undefined,
      max_allocations: wrong(allocations),
      max_bytes_per_month: wrong(gib),
    };
    if (Object.values(problems).some(Boolean)) {
      form.fail(problems);
      return;
    }
    void form.submit(async () => {
      const made = await api.addRelaySecret({
        name: name.trim(),
        ...(allocations.trim() === "" ? {} : { max_allocations: Number(allocations) }),
        ...(gib.trim() === "" ? {} : { max_bytes_per_month: Number(gib) * GIB }),
      });
      props.onMade(made);
    });
  }

  return (
    <FormDialog
      title={t("add_program")}
      form={form}
      action={t("make_secret")}
      onClose={props.onClose}
      onSubmit={() => {
        submit();
      }}
    >
      <Field
        label={t("program_name")}
        name="name"
        value={name}
        onInput={setName}
        error={form.problems.name}
        hint={t("program_name_hint")}
        maxLength={NAME_LENGTH}
        required
        autofocus
      />
      <div class="halves">
        <Field
          label={t("program_allocations")}
          name="max_allocations"
          inputMode="numeric"
          value={allocations}
          onInput={setAllocations}
          error={form.problems.max_allocations}
          hint={t("empty_no_limit")}
        />
        <Field
          label={t("program_gib")}
          name="max_bytes_per_month"
          inputMode="numeric"
          value={gib}
          onInput={setGib}
          error={form.problems.max_bytes_per_month}
          hint={t("empty_no_limit")}
        />
      </div>
    </FormDialog>
  );
}

function NewSecret(props: {
  program: RelaySecret;
  onMade: (made: RelaySecretText) => void;
  onClose: () => void;
}): JSX.Element {
  const [kept, setKept] = useState<keyof typeof KEPT>("day");
  const form = useForm([]);
  return (
    <FormDialog
      title={t("new_secret_title", { name: props.program.name })}
      form={form}
      action={t("make_secret")}
      onClose={props.onClose}
      onSubmit={() => {
        void form.submit(async () =>
          props.onMade(await api.rotateRelaySecret(props.program.name, KEPT[kept])),
        );
      }}
    >
      <p>{t("new_secret_text")}</p>
      <Select
        label={t("old_secret_kept")}
        value={kept}
        onChange={setKept}
        options={[
          { value: "none", text: t("kept_no_longer") },
          { value: "hour", text: t("kept_hour") },
          { value: "day", text: t("kept_day") },
          { value: "week", text: t("kept_week") },
        ]}
      />
    </FormDialog>
  );
}
