// Settings of calls, while one is in one: devices, how one speaks, how much is sent.

import type { JSX } from "preact";
import { choices, choose } from "../../call/choices";
import type { Call } from "../../call/engine";
import { t } from "../../i18n";
import { Dialog } from "../../ui/components";
import { Switch } from "../../ui/fields";
import { Icon } from "../../ui/icons";
import { DeviceChoice } from "./devices";

export function CallSettings(props: { call: Call; onClose: () => void; onCheck: () => void }): JSX.Element {
  const { media } = props.call;
  const { pushToTalk, saver } = choices.value;
  return (
    <Dialog title={t("call_settings")} onClose={props.onClose}>
      <DeviceChoice media={media} />
      <Switch
        label={t("push_to_talk")}
        hint={t("push_to_talk_hint")}
        checked={pushToTalk}
        onChange={(on) => {
          choose({ pushToTalk: on });
          media.gate();
        }}
      />
      <Switch
        label={t("data_saver")}
        hint={t("data_saver_hint")}
        checked={saver}
        onChange={(on) => choose({ saver: on })}
      />
      <div class="dialog-actions stretched">
        <button type="button" class="button" onClick={props.onCheck}>
          <Icon name="pulse" />
          {t("check_title")}
        </button>
      </div>
    </Dialog>
  );
}
