// Accounts at the relay of what cannot fetch credentials that expire: made and removed here.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { RelayDevice } from "../../api/types";
import { formatShort, t } from "../../i18n";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import { Confirm, Empty, Field, FormDialog, Menu, Panel, Problem, Spinner } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { ShownOnce } from "../../ui/take";
import { useAsked, useForm } from "../../ui/use";

const NAME_LENGTH = 64;

interface Made {
  name: string;
  password: string;
}

export function RelayDevices(): JSX.Element {
  const devices = useAsked(api.relayDevices, []);
  const [adding, add] = useState(false);
  const [removing, remove] = useState<RelayDevice | null>(null);
  const [made, setMade] = useState<Made | null>(null);
  return (
    <Panel title={t("relay_devices")} text={t("relay_devices_text")}>
      {devices.problem !== null && <Problem text={devices.problem} onRetry={devices.reload} />}
      {devices.data === null && devices.problem === null && <Spinner label={t("loading")} />}
      {devices.data?.length === 0 && <Empty icon="device" title={t("relay_devices_empty")} />}
      <ul class="found">
        {devices.data?.map((device) => (
          <li key={device.name} class="row wraps" data-device={device.name}>
            <Icon name="device" />
            <span class="who">
              <span class="who-name">{device.name}</span>
              <span class="who-note">{t("made_at", { date: formatShort(new Date(device.created_at)) })}</span>
              {!device.usable && (
                <span class="who-note">{t("device_unusable", { realm: device.realm })}</span>
              )}
            </span>
            <Menu
              label={t("actions_for", { name: device.name })}
              items={() => [
                {
                  icon: "trash",
                  text: t("remove_device"),
                  danger: true,
                  onClick: () => remove(device),
                },
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
          {t("add_device")}
        </button>
      </div>
      {adding && (
        <AddDevice
          onMade={(fresh) => {
            add(false);
            setMade(fresh);
            devices.reload();
          }}
          onClose={() => add(false)}
        />
      )}
      {removing !== null && (
        <Confirm
          title={t("remove_device_title", { name: removing.name })}
          text={t("remove_device_text")}
          action={t("remove_device")}
          onClose={() => remove(null)}
          onConfirm={async () => {
            await api.removeRelayDevice(removing.name).catch(report);
            remove(null);
            devices.reload();
          }}
        />
      )}
      {made !== null && (
        <ShownOnce
          title={t("password_of", { name: made.name })}
          text={t("password_once")}
          label={t("password_of", { name: made.name })}
          value={made.password}
          onClose={() => setMade(null)}
        />
      )}
    </Panel>
  );
}

function AddDevice(props: { onMade: (made: Made) => void; onClose: () => void }): JSX.Element {
  const [name, setName] = useState("");
  const form = useForm(["name"]);

  function submit(): void {
    if (name.trim() === "") {
      form.fail({ name: t("field_required") });
      return;
    }
    void form.submit(async () => props.onMade(await api.addRelayDevice(name.trim())));
  }

  return (
    <FormDialog
      title={t("add_device")}
      form={form}
      action={t("make_password")}
      onClose={props.onClose}
      onSubmit={() => {
        submit();
      }}
    >
      <Field
        label={t("device_name")}
        name="name"
        value={name}
        onInput={setName}
        error={form.problems.name}
        hint={t("device_name_hint")}
        maxLength={NAME_LENGTH}
        required
        autofocus
      />
    </FormDialog>
  );
}
