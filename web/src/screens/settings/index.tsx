// The user's own settings: who one is, how one signs in, where, what one is told of, how all of it
// looks, and the bots one has made.

import type { JSX } from "preact";
import { type Key, t } from "../../i18n";
import { Page } from "../page";
import { Appearance } from "./appearance";
import { Bots } from "./bots";
import { Devices } from "./devices";
import { Notifications } from "./notifications";
import { Profile } from "./profile";
import { Security } from "./security";

const PARTS: Record<string, { text: Key; Screen: () => JSX.Element }> = {
  "": { text: "profile", Screen: Profile },
  security: { text: "security", Screen: Security },
  devices: { text: "devices", Screen: Devices },
  notifications: { text: "notifications", Screen: Notifications },
  appearance: { text: "appearance", Screen: Appearance },
  bots: { text: "bots", Screen: Bots },
};

export function SettingsScreen({ part }: { part: string }): JSX.Element {
  const here = part in PARTS ? part : "";
  const Screen = PARTS[here]?.Screen ?? Profile;
  return (
    <Page
      title={t("settings")}
      tabs={Object.entries(PARTS).map(([name, { text }]) => ({
        href: name === "" ? "#/settings" : `#/settings/${name}`,
        text: t(text),
        here: name === here,
      }))}
    >
      <Screen />
    </Page>
  );
}
