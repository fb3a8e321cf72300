// What administrators see and do: users, rooms, the relay as it runs, what it carried, the programs that share it, who is
// banned, what was done over others, how the server is set up, and what it warns of.

import type { JSX } from "preact";
import { type Key, t } from "../../i18n";
import { Page } from "../page";
import { Audit } from "./audit";
import { Bans } from "./bans";
import { Programs } from "./programs";
import { Relay } from "./relay";
import { RelayDevices } from "./relay-devices";
import { Rooms } from "./rooms";
import { Settings } from "./settings";
import { Usage } from "./usage";
import { Users } from "./users";
import { Warnings } from "./warnings";

const PARTS: Record<string, { text: Key; Screen: () => JSX.Element }> = {
  "": { text: "users", Screen: Users },
  rooms: { text: "rooms", Screen: Rooms },
  relay: { text: "relay", Screen: Relay },
  programs: {
    text: "programs",
    Screen: () => (
      <>
        <Programs />
        <RelayDevices />
      </>
    ),
  },
  usage: { text: "usage", Screen: Usage },
  bans: { text: "abuse_bans", Screen: Bans },
  audit: { text: "audit", Screen: Audit },
  settings: { text: "settings", Screen: Settings },
  warnings: { text: "warnings", Screen: Warnings },
};

export function AdminScreen({ part }: { part: string }): JSX.Element {
  const here = part in PARTS ? part : "";
  const Screen = PARTS[here]?.Screen ?? Users;
  return (
    <Page
      title={t("administration")}
      broad
      tabs={Object.entries(PARTS).map(([name, { text }]) => ({
        href: name === "" ? "#/admin" : `#/admin/${name}`,
        text: t(text),
        here: name === here,
      }))}
    >
      <Screen />
    </Page>
  );
}
