// What one is told of while no page is open, here and everywhere.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { PushSettings } from "../../api/types";
import { t } from "../../i18n";
import { pushState, subscribe, unsubscribe } from "../../state/push";
import { api, serverConfig } from "../../state/session";
import { report } from "../../state/toasts";
import { Panel, Problem, Select, Spinner, Switch } from "../../ui/components";
import { useAsked } from "../../ui/use";

export function Notifications(): JSX.Element {
  if (serverConfig.value?.push_public_key == null) {
    return (
      <Panel title={t("notifications")}>
        <p class="notice">{t("push_off")}</p>
      </Panel>
    );
  }
  return (
    <>
      <ThisBrowser />
      <Everywhere />
    </>
  );
}

function ThisBrowser(): JSX.Element {
  const [busy, setBusy] = useState(false);
  const state = pushState.value;
  return (
    <Panel title={t("push_here")} text={t("push_here_text")}>
      {state === "impossible" && <p class="notice warn">{t("push_impossible")}</p>}
      {state === "denied" && <p class="notice warn">{t("push_denied")}</p>}
      <Switch
        label={t("push_switch")}
        checked={state === "on"}
        disabled={busy || state === "impossible" || state === "denied"}
        onChange={(on) => {
          setBusy(true);
          (on ? subscribe() : unsubscribe()).catch(report).finally(() => setBusy(false));
        }}
      />
    </Panel>
  );
}

function Everywhere(): JSX.Element {
  const settings = useAsked(api.pushSettings, []);
  const change = (changed: Partial<PushSettings>) => {
    if (settings.data !== null) settings.set({ ...settings.data, ...changed });
    api.setPushSettings(changed).then(settings.set, (error) => {
      report(error);
      settings.reload();
    });
  };
  return (
    <Panel title={t("push_what")} text={t("push_what_text")}>
      {settings.problem !== null && <Problem text={settings.problem} onRetry={settings.reload} />}
      {settings.data === null && settings.problem === null && <Spinner label={t("loading")} />}
      {settings.data !== null && (
        <>
          <Select
            label={t("push_messages")}
            value={settings.data.messages}
            onChange={(messages) => change({ messages })}
            options={[
              { value: "all", text: t("push_all") },
              { value: "mentions", text: t("push_mentions") },
              { value: "none", text: t("push_none") },
            ]}
          />
          <Switch
            label={t("push_calls")}
            checked={settings.data.calls}
            onChange={(calls) => change({ calls })}
          />
        </>
      )}
    </Panel>
  );
}
