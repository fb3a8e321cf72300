// Which addresses and accounts are banned because too much was wrong, and lifting a ban.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { AbuseBan } from "../../api/types";
import { formatShort, type Key, t } from "../../i18n";
import { api } from "../../state/session";
import { report } from "../../state/toasts";
import { Confirm, Empty, Panel, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";
import { ownerName } from "./owner";

const DOORS: Record<AbuseBan["what"], Key> = {
  sign_in: "abuse_ban_sign_in",
  registration: "abuse_ban_registration",
  turn: "abuse_ban_turn",
};

export function Bans(): JSX.Element {
  const bans = useAsked(api.abuseBans, []);
  const [lifting, lift] = useState<AbuseBan | null>(null);
  return (
    <Panel title={t("abuse_bans")} text={t("abuse_bans_text")}>
      <div class="cluster">
        <button type="button" class="button" onClick={bans.reload}>
          {t("look_again")}
        </button>
      </div>
      {bans.problem !== null && <Problem text={bans.problem} onRetry={bans.reload} />}
      {bans.data === null && bans.problem === null && <Spinner label={t("loading")} />}
      {bans.data?.length === 0 && <Empty icon="shield" title={t("abuse_bans_empty")} />}
      <ul class="found">
        {bans.data?.map((ban) => (
          <li key={ban.id} class="row wraps" data-ban={ban.id}>
            <span class="who">
              <span class={`who-name ${ban.address === null ? "" : "mono"}`}>{whom(ban)}</span>
              <span class="who-note">
                {t(DOORS[ban.what])} ·{" "}
                {t("abuse_ban_time", { since: time(ban.since), until: time(ban.until) })}
              </span>
            </span>
            <button type="button" class="button small" onClick={() => lift(ban)}>
              {t("abuse_ban_lift")}
            </button>
          </li>
        ))}
      </ul>
      {lifting !== null && (
        <Confirm
          title={t("abuse_ban_lift_title")}
          text={t("abuse_ban_lift_text", { name: whom(lifting) })}
          action={t("abuse_ban_lift")}
          onClose={() => lift(null)}
          onConfirm={async () => {
            await api.liftAbuseBan(lifting.id).catch(report);
            lift(null);
            bans.reload();
          }}
        />
      )}
    </Panel>
  );
}

const time = (text: string): string => formatShort(new Date(text));

function whom({ address, account }: AbuseBan): string {
  return address ?? (account === null ? "" : ownerName(account));
}
