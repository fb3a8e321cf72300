// What was relayed for whom in a month, the most first.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { formatLength, formatMonth, formatSize, t } from "../../i18n";
import { api } from "../../state/session";
import { Empty, Panel, Problem, Select, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";
import { ownerName } from "./owner";

const MONTHS = 12;

/** The newest months, `YYYY-MM`, as the server counts them: UTC. */
function months(now = new Date()): string[] {
  return Array.from({ length: MONTHS }, (_, back) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 7),
  );
}

export function Usage(): JSX.Element {
  const [month, setMonth] = useState(months()[0] ?? "");
  const usage = useAsked(() => api.relayUsage(month), [month]);
  const rows = [...(usage.data ?? [])]
    .map((row) => ({ ...row, bytes: row.bytes_to_peers + row.bytes_to_clients }))
    .sort((a, b) => b.bytes - a.bytes);
  const most = Math.max(1, ...rows.map((row) => row.bytes));
  const all = rows.reduce((sum, row) => sum + row.bytes, 0);
  return (
    <Panel title={t("usage")} text={t("usage_text")}>
      <Select
        label={t("month")}
        value={month}
        onChange={setMonth}
        options={months().map((value) => ({ value, text: formatMonth(value) }))}
      />
      {usage.problem !== null && <Problem text={usage.problem} onRetry={usage.reload} />}
      {usage.data === null && usage.problem === null && <Spinner label={t("loading")} />}
      {usage.data?.length === 0 && <Empty icon="chart" title={t("usage_empty")} />}
      {rows.length > 0 && <p class="hint">{t("usage_all", { size: formatSize(all) })}</p>}
      <ul class="bars">
        {rows.map((row) => (
          <li key={`${row.owner.kind}-${row.owner.id}`}>
            <span class="bar-head">
              <span class="ellipsis">{ownerName(row.owner)}</span>
              <span>{formatSize(row.bytes)}</span>
            </span>
            <span class="bar" aria-hidden="true">
              <span class="sent" style={{ width: `${(row.bytes_to_peers / most) * 100}%` }} />
              <span class="received" style={{ width: `${(row.bytes_to_clients / most) * 100}%` }} />
            </span>
            <span class="hint">
              {t("usage_row", {
                sent: formatSize(row.bytes_to_peers),
                received: formatSize(row.bytes_to_clients),
                time: formatLength(row.seconds),
                count: row.allocations,
              })}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
