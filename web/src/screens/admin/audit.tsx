// What was done over others, newest first.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { AuditEntry } from "../../api/types";
import { formatShort, hasKey, t } from "../../i18n";
import { api } from "../../state/session";
import { Empty, Panel, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";

/** What was done, in words; a word that is newer than this client stands as it is. */
function actionText(action: string): string {
  const key = `audit_${action.replace(".", "_")}`;
  return hasKey(key) ? t(key) : action;
}

export function Audit(): JSX.Element {
  const [before, setBefore] = useState<readonly AuditEntry[]>([]);
  const from = before.at(-1)?.id;
  const part = useAsked(() => api.audit(from), [from]);
  const entries = [
    ...before,
    ...(part.data?.results ?? []).filter((entry) => from === undefined || entry.id < from),
  ];
  return (
    <Panel title={t("audit")} text={t("audit_text")}>
      {part.problem !== null && <Problem text={part.problem} onRetry={part.reload} />}
      {part.data === null && part.problem === null && <Spinner label={t("loading")} />}
      {part.data !== null && entries.length === 0 && <Empty icon="shield" title={t("audit_empty")} />}
      <ul class="found">
        {entries.map((entry) => (
          <li key={entry.id} class="row wraps">
            <span class="who">
              <span class="who-name">{actionText(entry.action)}</span>
              <span class="who-note">
                {entry.actor.kind === "command_line" ? t("command_line") : entry.actor.name}
                {entry.target.name !== "" && ` → ${entry.target.name}`}
              </span>
              <span class="who-note">
                {[formatShort(new Date(entry.created_at)), entry.address].filter(Boolean).join(" · ")}
              </span>
            </span>
          </li>
        ))}
      </ul>
      {part.data?.has_more_before && (
        <div class="cluster">
          <button type="button" class="button" onClick={() => setBefore(entries)}>
            {t("show_more")}
          </button>
        </div>
      )}
    </Panel>
  );
}
