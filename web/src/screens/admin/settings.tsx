// The settings in force, by section: what each is, and where that comes from.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Setting } from "../../api/types";
import { t } from "../../i18n";
import { api } from "../../state/session";
import { Empty, Field, Panel, Problem, Segments, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";

const DEFAULT = "default";

export function Settings(): JSX.Element {
  const settings = useAsked(api.settings, []);
  const [sought, setSought] = useState("");
  const [which, setWhich] = useState<"all" | "changed">("all");
  const word = sought.trim().toLowerCase();
  const found = (settings.data ?? []).filter(
    ({ key, value, origin, is_waiting }) =>
      (which === "all" || origin !== DEFAULT || is_waiting) &&
      `${key} ${value ?? ""}`.toLowerCase().includes(word),
  );
  const sections = new Map<string, Setting[]>();
  for (const setting of found) {
    const section = setting.key.includes(".") ? (setting.key.split(".")[0] ?? "") : "";
    sections.set(section, [...(sections.get(section) ?? []), setting]);
  }
  return (
    <>
      <Panel title={t("settings_in_force")} text={t("settings_in_force_text")}>
        <Field
          label={t("search_settings")}
          name="search"
          type="search"
          value={sought}
          onInput={setSought}
          maxLength={100}
        />
        <Segments
          legend={t("which_settings")}
          value={which}
          onChange={setWhich}
          options={[
            { value: "all", text: t("settings_all") },
            { value: "changed", text: t("settings_changed") },
          ]}
        />
        {settings.problem !== null && <Problem text={settings.problem} onRetry={settings.reload} />}
        {settings.data === null && settings.problem === null && <Spinner label={t("loading")} />}
        {settings.data !== null && found.length === 0 && <Empty icon="settings" title={t("nothing_found")} />}
      </Panel>
      {[...sections].map(([section, within]) => (
        <Panel key={section} title={section === "" ? t("settings_of_all") : `[${section}]`}>
          <ul class="found">
            {within.map((setting) => (
              <li key={setting.key} class="row wraps" data-setting={setting.key}>
                <span class="who">
                  <span class="who-name mono">{setting.key.slice(setting.key.indexOf(".") + 1)}</span>
                  {setting.is_waiting && (
                    <span>
                      <span class="tag warn">{t("waits_for_start")}</span>
                    </span>
                  )}
                  <span class={setting.value ? "mono" : "hint"}>{valueText(setting)}</span>
                  <span class="who-note">
                    {setting.origin === DEFAULT ? (
                      t("by_default")
                    ) : (
                      <>
                        {t("set_by")} <code>{setting.origin}</code>
                      </>
                    )}{" "}
                    · {t(setting.is_reloaded ? "read_on_reload" : "read_at_start")}
                  </span>
                </span>
              </li>
            ))}
          </ul>
        </Panel>
      ))}
    </>
  );
}

function valueText({ value, is_secret, is_set }: Setting): string {
  if (is_secret) return t(is_set ? "secret_set" : "secret_not_set");
  return value || t("setting_empty");
}
