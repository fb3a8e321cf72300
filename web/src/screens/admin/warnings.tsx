// What the log of the server has warned of since its start, newest first.

import type { JSX } from "preact";
import { formatShort, t } from "../../i18n";
import { api } from "../../state/session";
import { Empty, Panel, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";

export function Warnings(): JSX.Element {
  const warnings = useAsked(api.warnings, []);
  return (
    <Panel title={t("warnings")} text={t("warnings_text")}>
      <div class="cluster">
        <button type="button" class="button" onClick={warnings.reload}>
          {t("look_again")}
        </button>
      </div>
      {warnings.problem !== null && <Problem text={warnings.problem} onRetry={warnings.reload} />}
      {warnings.data === null && warnings.problem === null && <Spinner label={t("loading")} />}
      {warnings.data?.length === 0 && <Empty icon="check" title={t("warnings_empty")} />}
      <ul class="found">
        {warnings.data?.map((warning) => (
          <li
            key={`${warning.level} ${warning.target} ${warning.text}`}
            class="row wraps"
            data-level={warning.level}
          >
            <span class="who">
              <span class="who-note">
                <span class={`tag ${warning.level === "error" ? "danger" : "warn"}`}>
                  {t(warning.level === "error" ? "level_error" : "level_warn")}
                </span>{" "}
                {formatShort(new Date(warning.at))} · <code>{warning.target}</code>
                {warning.count > 1 &&
                  ` · ${t("warning_again", { count: warning.count, date: formatShort(new Date(warning.first_at)) })}`}
              </span>
              <span>{warning.text}</span>
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
