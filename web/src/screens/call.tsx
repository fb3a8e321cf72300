// A call on the screen: tiles, controls, and the bar that stays while one looks elsewhere. It draws the list of
// participants that the engine offers and knows nothing of how media travels.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { choices } from "../call/choices";
import type { Call } from "../call/engine";
import { canShareScreen } from "../call/media";
import { t } from "../i18n";
import { roomPath, route } from "../router";
import { type CurrentCall, currentCall, declinedBy, leaveCall } from "../state/call";
import { rooms } from "../state/rooms";
import { me } from "../state/session";
import { report, toast } from "../state/toasts";
import { IconButton } from "../ui/components";
import { Icon } from "../ui/icons";
import { wide } from "../ui/width";
import { CheckDialog } from "./call/check";
import { toggleFullscreen } from "./call/display";
import { nameOf } from "./call/names";
import { PersonDialog } from "./call/person";
import { Prejoin } from "./call/prejoin";
import { IncomingCall } from "./call/ring";
import { CallSettings } from "./call/settings";
import { CallSound } from "./call/sound";
import { PushToTalk, TalkButton } from "./call/talk";
import { Tiles } from "./call/tiles";
import { roomTitle } from "./sidebar";

/** What of calls is there on every screen: the sound, a call that rings, one that is about to be entered. */
export function CallLayer(): JSX.Element {
  return (
    <>
      <CallSound />
      <PushToTalk />
      <Prejoin />
      <IncomingCall />
    </>
  );
}

export function CallArea({ call }: { call: Call }): JSX.Element {
  const [expanded, setExpanded] = useState(!wide.peek());
  const [full, setFull] = useState(false);
  /** A dialog, or the id of the participant whom it is about. They stand outside: the tiles alone are always dark. */
  const [open, setOpen] = useState<"settings" | "check" | number | null>(null);
  const area = useRef<HTMLElement>(null);
  const state = call.state.value;
  useEffect(() => {
    const look = () => setFull(document.fullscreenElement === area.current);
    document.addEventListener("fullscreenchange", look);
    return () => document.removeEventListener("fullscreenchange", look);
  }, []);
  const close = () => setOpen(null);
  const about = call.participants.value.find(({ id }) => id === open);
  return (
    <>
      <section ref={area} class={`call dark${expanded ? " expanded" : ""}`} aria-label={t("call")}>
        {state !== "joined" && (
          <p class="call-news warn" role="status">
            {t(state === "joining" ? "call_joining" : "reconnecting")}
          </p>
        )}
        <Asked call={call} />
        <Tiles call={call} onMore={setOpen} />
        {state === "joined" && call.participants.value.length === 0 && <Alone call={call} />}
        <Controls call={call}>
          <IconButton
            icon="hand"
            label={t(call.hand.value ? "hand_lower" : "hand_raise")}
            tone={call.hand.value ? "filled" : "plain"}
            onClick={() => call.raiseHand(!call.hand.value)}
          />
          <IconButton icon="settings" label={t("call_settings")} onClick={() => setOpen("settings")} />
          {document.fullscreenEnabled && (
            <span class="only-wide">
              <IconButton
                icon={full ? "shrink" : "expand"}
                label={t(full ? "full_screen_end" : "full_screen")}
                onClick={() => toggleFullscreen(area.current).catch(report)}
              />
            </span>
          )}
          <span class="only-narrow">
            <IconButton
              icon={expanded ? "chat" : "expand"}
              label={t(expanded ? "call_shrink" : "call_expand")}
              onClick={() => setExpanded(!expanded)}
            />
          </span>
        </Controls>
      </section>
      {open === "settings" && <CallSettings call={call} onClose={close} onCheck={() => setOpen("check")} />}
      {open === "check" && <CheckDialog onClose={close} />}
      {about !== undefined && <PersonDialog call={call} participant={about} onClose={close} />}
    </>
  );
}

/** Nobody rings for longer. */
const ANSWER_MS = 45_000;

function Alone({ call }: { call: Call }): JSX.Element {
  const [waited, setWaited] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setWaited(true), ANSWER_MS);
    return () => clearTimeout(timer);
  }, []);
  const declined = declinedBy.value;
  const room = rooms.value.get(currentCall.value?.roomId ?? 0);
  const other = room?.is_direct ? roomTitle(room, me().id) : null;
  let text = t("call_alone");
  if (call.met.value) text = t("call_alone_again");
  else if (declined !== null) text = t("call_declined", { name: nameOf(declined) });
  else if (other !== null) text = t(waited ? "call_no_answer" : "call_ringing", { name: other });
  return (
    <p class="call-alone" role="status">
      {text}
    </p>
  );
}

/** Whoever leads the room asks one to speak. Nobody is switched on by others. */
function Asked({ call }: { call: Call }): JSX.Element | null {
  const by = call.askedBy.value;
  if (by === null) return null;
  const done = () => {
    call.askedBy.value = null;
  };
  return (
    <div class="call-news" role="alert">
      <span>{t("asks_to_speak", { name: nameOf(by) })}</span>
      <button
        type="button"
        class="button small primary"
        onClick={() => {
          done();
          if (call.media.audio.peek() !== "on") call.media.toggleAudio().catch(report);
        }}
      >
        {t("unmute")}
      </button>
      <button type="button" class="button small" onClick={done}>
        {t("not_now")}
      </button>
    </div>
  );
}

function Controls({ call, children }: { call: Call; children?: ComponentChildren }): JSX.Element {
  const { media } = call;
  const mic = media.audio.value === "on";
  const camera = media.video.value === "on";
  const sharing = media.screen.value !== null;
  return (
    <div class="call-controls" role="toolbar" aria-label={t("call_controls")}>
      {mic && choices.value.pushToTalk && <TalkButton media={media} />}
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
      {canShareScreen && children !== undefined && (
        <IconButton
          icon="screen"
          label={t(sharing ? "stop_sharing" : "share_screen")}
          tone={sharing ? "filled" : "plain"}
          onClick={() => media.shareScreen().catch(reportNoScreen)}
        />
      )}
      {children}
      <IconButton icon="hangUp" label={t("leave_call")} tone="danger" onClick={leaveCall} />
    </div>
  );
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

/** A system without a screen, or one that keeps it to itself, is no fault of the page. */
function reportNoScreen(error: unknown): void {
  if (error instanceof DOMException) toast(t("screen_not_shared"), "error");
  else report(error);
}
