// A call on the screen: tiles, controls, the sound of the others, and the bar that stays while one looks elsewhere.
// It draws the list of participants that the engine offers and knows nothing of how media travels.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Call, RemoteParticipant } from "../call/engine";
import type { Link } from "../call/stats";
import { type Key, t } from "../i18n";
import { roomPath, route } from "../router";
import { type CurrentCall, currentCall, leaveCall } from "../state/call";
import { rooms } from "../state/rooms";
import { me } from "../state/session";
import { report } from "../state/toasts";
import { Avatar, IconButton } from "../ui/components";
import { Icon } from "../ui/icons";
import { roomTitle } from "./sidebar";

const LINKS: Record<Link, Key> = {
  connecting: "link_connecting",
  direct: "link_direct",
  relayed: "link_relayed",
  lost: "link_lost",
};

export function CallArea({ call }: { call: Call }): JSX.Element {
  const [expanded, setExpanded] = useState(false);
  const others = call.participants.value;
  const state = call.state.value;
  const user = me();
  const name = user.display_name || user.username;
  return (
    <section class={`call${expanded ? " expanded" : ""}`} aria-label={t("call")}>
      {state !== "joined" && (
        <p class="line-lost" role="status">
          {t(state === "joining" ? "call_joining" : "reconnecting")}
        </p>
      )}
      <ul class={`tiles count-${Math.min(others.length + 1, 7)}`}>
        {others.map((participant) => (
          <Tile
            key={participant.id}
            name={participant.username}
            seed={participant.username}
            stream={participant.video ? participant.stream : null}
            muted={!participant.audio}
            link={participant.link}
          />
        ))}
        <Tile
          name={t("you_named", { name })}
          seed={user.username}
          stream={call.localVideo.value}
          muted={call.audio.value !== "on"}
          mirrored
        />
      </ul>
      {state === "joined" && others.length === 0 && <p class="call-alone">{t("call_alone")}</p>}
      <Controls call={call}>
        <span class="only-narrow">
          <IconButton
            icon={expanded ? "shrink" : "expand"}
            label={t(expanded ? "call_shrink" : "call_expand")}
            onClick={() => setExpanded(!expanded)}
          />
        </span>
      </Controls>
    </section>
  );
}

function Controls({ call, children }: { call: Call; children?: JSX.Element }): JSX.Element {
  const mic = call.audio.value === "on";
  const camera = call.video.value === "on";
  return (
    <div class="call-controls" role="toolbar" aria-label={t("call_controls")}>
      <IconButton
        icon={mic ? "mic" : "micOff"}
        label={t(mic ? "mute" : "unmute")}
        tone={mic ? "plain" : "off"}
        onClick={() => call.toggleAudio().catch(report)}
      />
      <IconButton
        icon={camera ? "camera" : "cameraOff"}
        label={t(camera ? "camera_off" : "camera_on")}
        tone={camera ? "plain" : "off"}
        onClick={() => call.toggleVideo().catch(report)}
      />
      {children}
      <IconButton icon="hangUp" label={t("leave_call")} tone="danger" onClick={leaveCall} />
    </div>
  );
}

function Tile(props: {
  name: string;
  seed: string;
  /** `null`: there is no picture to show. */
  stream: MediaStream | null;
  muted: boolean;
  mirrored?: boolean;
  link?: Link;
}): JSX.Element {
  const { name, link } = props;
  return (
    <li class={`tile${link === "lost" ? " lost" : ""}`} data-link={link}>
      {props.stream === null ? (
        <span class="tile-avatar">
          <Avatar name={name} seed={props.seed} large />
          <span class="visually-hidden">{t("no_camera")}</span>
        </span>
      ) : (
        <Video stream={props.stream} mirrored={props.mirrored ?? false} />
      )}
      <span class="tile-label">
        {props.muted && (
          <span class="tile-muted" title={t("muted")}>
            <Icon name="micOff" />
            <span class="visually-hidden">{t("muted")}</span>
          </span>
        )}
        <span class="ellipsis">{name}</span>
      </span>
      {link !== undefined && (
        <span class={`tile-link ${link}`} aria-live="polite">
          {t(LINKS[link])}
        </span>
      )}
    </li>
  );
}

/** The picture alone; the sound comes from `CallSound`. */
function Video({ stream, mirrored }: { stream: MediaStream; mirrored: boolean }): JSX.Element {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (element.current !== null) element.current.srcObject = stream;
  }, [stream]);
  return <video ref={element} class={mirrored ? "mirrored" : undefined} autoplay playsInline muted />;
}

/** Everybody's sound, whatever screen is open. */
export function CallSound(): JSX.Element {
  const participants = currentCall.value?.call.participants.value ?? [];
  return (
    <div hidden>
      {participants.map((participant) => (
        <Sound key={participant.id} participant={participant} />
      ))}
    </div>
  );
}

function Sound({ participant }: { participant: RemoteParticipant }): JSX.Element {
  const element = useRef<HTMLAudioElement>(null);
  const { stream } = participant;
  useEffect(() => {
    const audio = element.current;
    if (audio === null) return;
    audio.srcObject = stream;
    // The click that joined the call allows sound; where a browser sees it otherwise, the next click does.
    const play = () =>
      void audio.play().catch(() => document.addEventListener("click", play, { once: true }));
    if (stream !== null) play();
    return () => document.removeEventListener("click", play);
  }, [stream]);
  // biome-ignore lint/a11y/useMediaCaption: a live conversation has no captions
  return <audio ref={element} />;
}

/** The way back to a call whose room is not on the screen. */
export function CallBar(): JSX.Element | null {
  const current = currentCall.value;
  const here = route.value.name === "room" && route.value.id === current?.roomId;
  return current === null || here ? null : <CallBarOf current={current} />;
}

function CallBarOf({ current }: { current: CurrentCall }): JSX.Element {
  const room = rooms.value.get(current.roomId);
  return (
    <div class="call-bar">
      <a href={roomPath(current.roomId)}>
        <Icon name="phone" />
        <span class="ellipsis">
          {t("call_in", { room: room === undefined ? "" : roomTitle(room, me().id) })}
        </span>
      </a>
      <Controls call={current.call} />
    </div>
  );
}
