// What the relay carries at this moment, for whom and how much of it; and ending one.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Allocation, RelayNode } from "../../api/types";
import { formatLength, formatSize, t } from "../../i18n";
import { api, serverConfig } from "../../state/session";
import { report } from "../../state/toasts";
import { Confirm, Empty, Panel, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";
import { ownerName } from "./owner";

const REFRESH_MS = 5_000;

export function Relay(): JSX.Element {
  const live = useAsked(api.allocations, []);
  const nodes = useAsked(api.relayNodes, []);
  const [ending, end] = useState<Allocation | null>(null);
  const reload = () => {
    live.reload();
    nodes.reload();
  };
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && reload(), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const several = nodes.data !== null && nodes.data.length > 1;
  return (
    <>
      {several && <Nodes nodes={nodes.data ?? []} />}
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
                  {several && <th>{t("relay_node")}</th>}
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
                    {several && <td class="mono">{allocation.node}</td>}
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
            reload();
          }}
        />
      )}
    </>
  );
}

/** Where there are several. */
function Nodes({ nodes }: { nodes: RelayNode[] }): JSX.Element {
  return (
    <Panel title={t("relay_nodes")} text={t("relay_nodes_text")}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: scrolled by keyboard */}
      <div class="table-frame" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th>{t("relay_node")}</th>
              <th>{t("relay_regions")}</th>
              <th>{t("health")}</th>
              <th class="number">{t("relay_allocations")}</th>
              <th class="number">{t("relay_load")}</th>
            </tr>
          </thead>
          <tbody>
            {nodes.map((node) => (
              <tr key={node.name} data-relay={node.name}>
                <td class="mono">{node.name}</td>
                <td>{node.regions.join(", ")}</td>
                <td>
                  <span class={STATES[node.state]}>{t(`relay_state_${node.state}`)}</span>
                </td>
                <td class="number">{node.allocations}</td>
                <td class="number">{Math.round(node.load * 100)} %</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

const STATES = { serving: "tag good", draining: "tag warn", silent: "tag danger" };

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
