// What the relay carries at this moment, for whom and how much of it; and ending one.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Allocation } from "../../api/types";
import { formatLength, formatSize, t } from "../../i18n";
import { api, serverConfig } from "../../state/session";
import { report } from "../../state/toasts";
import { Confirm, Empty, Panel, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";
import { ownerName } from "./owner";

const REFRESH_MS = 5_000;

export function Relay(): JSX.Element {
  const live = useAsked(api.allocations, []);
  const [ending, end] = useState<Allocation | null>(null);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && live.reload(), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <>
      <Panel title={t("allocations")} text={t("allocations_text")}>
        {live.problem !== null && <Problem text={live.problem} onRetry={live.reload} />}
        {live.data === null && live.problem === null && <Spinner label={t("loading")} />}
        {live.data?.length === 0 && <Empty icon="chart" title={t("allocations_empty")} />}
        {live.data !== null && live.data.length > 0 && (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolled by keyboard
          <div class="table-frame" tabIndex={0}>
            <table>
              <thead>
                <tr>
                  <th>{t("relay_user")}</th>
                  <th>{t("relay_transport")}</th>
                  <th>{t("relay_client")}</th>
                  <th class="number">{t("relay_age")}</th>
                  <th class="number">{t("relay_sent")}</th>
                  <th class="number">{t("relay_received")}</th>
                  <th>
                    <span class="visually-hidden">{t("relay_end")}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {live.data.map((allocation) => (
                  <tr key={allocation.id} data-allocation={allocation.id}>
                    <td>{ownerName(allocation.owner)}</td>
                    <td>{allocation.transport}</td>
                    <td class="mono">{allocation.client}</td>
                    <td class="number">{formatLength(allocation.age)}</td>
                    <td class="number">{formatSize(allocation.to_peer.bytes)}</td>
                    <td class="number">{formatSize(allocation.to_client.bytes)}</td>
                    <td class="number">
                      <button type="button" class="button small danger" onClick={() => end(allocation)}>
                        {t("relay_end")}
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <Panel title={t("server")}>
        <dl class="facts">
          <dt>{t("version")}</dt>
          <dd>{serverConfig.value?.version}</dd>
          <dt>{t("health")}</dt>
          <dd>
            <Health />
          </dd>
        </dl>
      </Panel>
      {ending !== null && (
        <Confirm
          title={t("relay_end_title")}
          text={t("relay_end_text", { name: ownerName(ending.owner) })}
          action={t("relay_end")}
          onClose={() => end(null)}
          onConfirm={async () => {
            await api.endAllocation(ending.id).catch(report);
            end(null);
            live.reload();
          }}
        />
      )}
    </>
  );
}

/** Whether the server can work: its own word. */
function Health(): JSX.Element {
  const ready = useAsked(async () => {
    const answer = await fetch("/readyz");
    return { ok: answer.ok, text: (await answer.text()).trim() };
  }, []);
  if (ready.data === null) return <span class="tag">{ready.problem ?? t("loading")}</span>;
  return ready.data.ok ? (
    <span class="tag good">{t("healthy")}</span>
  ) : (
    <span class="tag danger">{ready.data.text}</span>
  );
}
