// One participant of a call: how loud, how good the connection is, and asking them to speak.

import type { JSX } from "preact";
import { setVolume, volumeOf } from "../../call/choices";
import type { Call, RemoteParticipant } from "../../call/engine";
import { type Quality, rate } from "../../call/stats";
import { type Key, t } from "../../i18n";
import { currentCall } from "../../state/call";
import { rooms } from "../../state/rooms";
import { me } from "../../state/session";
import { toast } from "../../state/toasts";
import { Dialog } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { nameOf } from "./names";
import { canSetVolume } from "./sound";

export function PersonDialog(props: {
  call: Call;
  participant: RemoteParticipant;
  onClose: () => void;
}): JSX.Element {
  const { call, participant } = props;
  const { id, username, audio } = participant;
  const name = nameOf(username);
  const room = rooms.value.get(currentCall.value?.roomId ?? 0);
  const volume = volumeOf(id);
  return (
    <Dialog title={name} onClose={props.onClose}>
      <div class="volume">
        <button
          type="button"
          class="icon-button plain"
          aria-pressed={volume === 0}
          title={t(volume === 0 ? "hear_again" : "hear_not")}
          aria-label={t(volume === 0 ? "hear_again" : "hear_not")}
          onClick={() => setVolume(id, volume === 0 ? 1 : 0)}
        >
          <Icon name={volume === 0 ? "soundOff" : "sound"} />
        </button>
        {canSetVolume && (
          <label>
            <span class="visually-hidden">{t("volume_of", { name })}</span>
            <input
              type="range"
              min={0}
              max={1}
              step={0.05}
              value={volume}
              onInput={(event) => setVolume(id, Number(event.currentTarget.value))}
            />
          </label>
        )}
        <output>{t("percent", { value: Math.round(volume * 100) })}</output>
      </div>
      <p class="hint">{t("volume_hint")}</p>
      <h3>{t("connection")}</h3>
      <Connection participant={participant} />
      {room?.owner.id === me().id && !audio && (
        <div class="dialog-actions">
          <button
            type="button"
            class="button"
            onClick={() => {
              if (call.askToSpeak(id)) toast(t("asked_to_speak", { name }));
              else toast(t("error_network"), "error");
              props.onClose();
            }}
          >
            <Icon name="mic" />
            {t("ask_to_speak")}
          </button>
        </div>
      )}
    </Dialog>
  );
}

const RATINGS = { good: "quality_good", fair: "quality_fair", poor: "quality_poor" } as const;

function Connection({ participant: { link, quality } }: { participant: RemoteParticipant }): JSX.Element {
  if (quality === null) return <p>{t(link === "lost" ? "quality_lost" : "quality_connecting")}</p>;
  return (
    <>
      <p>{t(RATINGS[rate(quality)])}</p>
      <dl class="call-facts">
        {factsOf(quality).map(([key, text]) => (
          <div key={key}>
            <dt>{t(key)}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function factsOf(quality: Quality): [Key, string][] {
  const unknown = t("unknown");
  const percent = (share: number | null) =>
    share === null ? unknown : t("percent", { value: Math.round(share * 1000) / 10 });
  const speed = (bits: number | null) =>
    bits === null ? unknown : t("kilobits", { value: Math.round(bits / 1000) });
  return [
    ["quality_way", way(quality)],
    ["quality_delay", quality.delay === null ? unknown : t("milliseconds", { value: quality.delay })],
    ["quality_loss_in", percent(quality.lossIn)],
    ["quality_loss_out", percent(quality.lossOut)],
    ["quality_speed", `↓ ${speed(quality.bitrateIn)}  ↑ ${speed(quality.bitrateOut)}`],
  ];
}

function way({ way, relayProtocol }: Quality): string {
  if (way === "direct") return t("way_direct");
  if (relayProtocol === null) return t("way_relayed");
  return t("way_relayed_by", { protocol: relayProtocol.toUpperCase() });
}
