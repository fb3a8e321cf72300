// Before a call: one sees and hears oneself, chooses devices, and enters.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { LocalMedia } from "../../call/local";
import type { Kind } from "../../call/media";
import { t } from "../../i18n";
import { cancelCall, joinCall, PROBLEMS, preparing } from "../../state/call";
import { rooms } from "../../state/rooms";
import { me } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, Dialog, IconButton } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { roomTitle } from "../sidebar";
import { CheckDialog } from "./check";
import { DeviceChoice } from "./devices";
import { Video } from "./tiles";

export function Prejoin(): JSX.Element | null {
  const prepared = preparing.value;
  return prepared === null ? null : <Preparation {...prepared} />;
}

function Preparation({ roomId, media }: { roomId: number; media: LocalMedia }): JSX.Element {
  const [checking, setChecking] = useState(false);
  const room = rooms.value.get(roomId);
  const title = room === undefined ? t("call") : roomTitle(room, me().id);
  const others = room?.active_call_participants.filter((name) => name !== me().username) ?? [];
  return (
    <Dialog title={title} onClose={cancelCall} broad>
      <div class="prejoin-body">
        <div class="prejoin-look">
          <Preview media={media} />
          <p class="hint">
            {others.length === 0 ? t("prejoin_alone") : t("call_going_on", { names: others.join(", ") })}
          </p>
        </div>
        <div class="stack">
          {(["audio", "video"] as const).map((kind) => (
            <Problem key={kind} media={media} kind={kind} />
          ))}
          <DeviceChoice media={media} />
        </div>
      </div>
      <div class="dialog-actions stretched prejoin-actions">
        <button type="button" class="button quiet" onClick={() => setChecking(true)}>
          <Icon name="pulse" />
          {t("check_connection")}
        </button>
        <button type="button" class="button primary" onClick={joinCall}>
          <Icon name="phone" />
          {t("join_call_now")}
        </button>
      </div>
      {checking && <CheckDialog onClose={() => setChecking(false)} />}
    </Dialog>
  );
}

function Preview({ media }: { media: LocalMedia }): JSX.Element {
  const { username, display_name, avatar_url } = me();
  const name = display_name || username;
  const mic = media.audio.value === "on";
  const camera = media.video.value === "on";
  return (
    <div class="preview dark">
      {media.picture.value === null ? (
        <span class="tile-avatar">
          <Avatar name={name} seed={username} src={avatar_url} large />
          <span>{t("no_camera")}</span>
        </span>
      ) : (
        <Video stream={media.picture.value} mirrored />
      )}
      <div class="preview-controls">
        <IconButton
          icon={mic ? "mic" : "micOff"}
          label={t(mic ? "mute" : "unmute")}
          tone={mic ? "plain" : "off"}
          onClick={() => media.toggleAudio().catch(report)}
        />
        <IconButton
          icon={camera ? "camera" : "cameraOff"}
          label={t(camera ? "camera_off" : "camera_on")}
          tone={camera ? "plain" : "off"}
          onClick={() => media.toggleVideo().catch(report)}
        />
      </div>
    </div>
  );
}

/** Why there is no microphone or camera, and what to do about it. */
function Problem({ media, kind }: { media: LocalMedia; kind: Kind }): JSX.Element | null {
  const { audio, [kind]: problem } = media.problems.value;
  if (problem === null) return null;
  // Said once is enough.
  const saysHow = problem === "denied" && (kind === "audio" || audio !== "denied");
  return (
    <div class="notice warn" role="alert">
      <p>{t(PROBLEMS[problem][kind])}</p>
      {saysHow && <p>{t("media_denied_how")}</p>}
      {problem !== "insecure" && (
        <button type="button" class="button small" onClick={() => media.reopen(kind).catch(report)}>
          {t("try_again")}
        </button>
      )}
    </div>
  );
}
