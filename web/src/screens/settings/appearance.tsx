// Theme and language, of this browser.

import type { JSX } from "preact";
import { t } from "../../i18n";
import { LanguageSwitch, Panel, Segments } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { setTheme, theme } from "../../ui/theme";

export function Appearance(): JSX.Element {
  return (
    <Panel title={t("appearance")} text={t("appearance_text")}>
      <Segments
        legend={t("theme")}
        shown
        value={theme.value}
        onChange={setTheme}
        options={[
          { value: "system", text: t("theme_system") },
          {
            value: "light",
            text: (
              <>
                <Icon name="sun" small />
                {t("theme_light")}
              </>
            ),
          },
          {
            value: "dark",
            text: (
              <>
                <Icon name="moon" small />
                {t("theme_dark")}
              </>
            ),
          },
        ]}
      />
      <LanguageSwitch short={false} />
    </Panel>
  );
}
