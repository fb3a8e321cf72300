// Where one is signed in: names, when each was used, and ending them.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Device } from "../../api/types";
import { formatShort, t } from "../../i18n";
import { api, setSession } from "../../state/session";
import { report } from "../../state/toasts";
import { Confirm, Dialog, Field, IconButton, Panel, Problem, Spinner } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { useAsked, useForm } from "../../ui/use";

export function Devices(): JSX.Element {
  const devices = useAsked(api.devices, []);
  const [renaming, rename] = useState<Device | null>(null);
  const [ending, end] = useState(false);
  return (
    <>
      <Panel title={t("devices")} text={t("devices_text")}>
        {devices.problem !== null && <Problem text={devices.problem} onRetry={devices.reload} />}
        {devices.data === null && devices.problem === null && <Spinner label={t("loading")} />}
        <ul class="found">
          {devices.data?.map((device) => (
            <li key={device.id} class="row wraps">
              <Icon name="device" />
              <span class="who">
                <span class="who-name">
                  {device.name} {device.current && <span class="tag good">{t("this_device")}</span>}
                </span>
                <span class="who-note">
                  {t("last_used", { date: formatShort(new Date(device.last_used_at)) })} ·{" "}
                  {t("signed_in_at", { date: formatShort(new Date(device.created_at)) })}
                </span>
              </span>
              <IconButton
                icon="edit"
                label={t("rename_device", { name: device.name })}
                onClick={() => rename(device)}
              />
              {!device.current && (
                <IconButton
                  icon="signOut"
                  label={t("end_device", { name: device.name })}
                  onClick={() => api.endDevice(device.id).then(devices.reload, report)}
                />
              )}
            </li>
          ))}
        </ul>
        <div class="cluster">
          <button type="button" class="button danger" onClick={() => end(true)}>
            {t("sign_out_everywhere")}
          </button>
        </div>
      </Panel>
      {renaming !== null && (
        <RenameDevice
          device={renaming}
          onClose={(changed) => {
            rename(null);
            if (changed) devices.reload();
          }}
        />
      )}
      {ending && (
        <Confirm
          title={t("sign_out_everywhere")}
          text={t("sign_out_everywhere_text")}
          action={t("sign_out_everywhere")}
          onClose={() => end(false)}
          onConfirm={() => api.logoutAll().then(() => setSession(null), report)}
        />
      )}
    </>
  );
}

function RenameDevice({
  device,
  onClose,
}: {
  device: Device;
  onClose: (changed: boolean) => void;
}): JSX.Element {
  const [name, setName] = useState(device.name);
  const form = useForm(["name"]);
  return (
    <Dialog title={t("rename_device", { name: device.name })} onClose={() => onClose(false)}>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void form.submit(async () => {
            await api.renameDevice(device.id, name.trim());
            onClose(true);
          });
        }}
      >
        <Field
          label={t("device_name")}
          name="name"
          value={name}
          onInput={setName}
          error={form.problems.name ?? form.problems.form}
          maxLength={100}
          autofocus
        />
        <div class="dialog-actions">
          <button type="submit" class="button primary" disabled={form.busy}>
            {t("save")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
