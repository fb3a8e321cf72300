// The tiles of a call: people, shared screens, oneself. One of them may stand large above the others: what is shared,
// or what the user has chosen.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Call, RemoteParticipant } from "../../call/engine";
import { bestColumns, startOf } from "../../call/layout";
import type { Link } from "../../call/stats";
import { rate } from "../../call/stats";
import { type Key, t } from "../../i18n";
import { avatarOf } from "../../state/people";
import { me } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, IconButton } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { canFloat, canFullscreen, floatVideo, toggleFullscreen } from "./display";
import { nameOf } from "./names";

/** Pixels that a tile beneath a large one needs to be of use. */
const STRIP_TILE = 96;

interface Shown {
  key: string;
  name: string;
  seed: string;
  /** Of the person, where the camera is off. */
  face?: string;
  /** `null`: there is no picture to show. */
  picture: MediaStream | null;
  kind: "person" | "self" | "screen" | "own-screen";
  participant?: RemoteParticipant;
  muted?: boolean;
  hand?: boolean;
  speaking?: boolean;
}

function shownIn(call: Call): Shown[] {
  const { media } = call;
  const user = me();
  const speaking = call.speaking.value;
  const shown: Shown[] = [];
  for (const participant of call.participants.value) {
    const { id, username, screen, stream, video, audio, hand } = participant;
    const name = nameOf(username);
    if (screen !== null) {
      const title = t("screen_of", { name });
      shown.push({ key: `screen ${id}`, name: title, seed: username, picture: screen, kind: "screen" });
    }
    shown.push({
      key: `person ${id}`,
      name,
      seed: username,
      picture: video ? stream : null,
      face: avatarOf(id),
      kind: "person",
      participant,
      muted: !audio,
      hand,
      speaking: speaking.has(id),
    });
  }
  if (media.screen.value !== null) {
    shown.push({
      key: "own-screen",
      name: t("your_screen"),
      seed: user.username,
      picture: media.screen.value,
      kind: "own-screen",
    });
  }
  shown.push({
    key: "self",
    name: t("you_named", { name: user.display_name || user.username }),
    seed: user.username,
    picture: media.picture.value,
    face: user.avatar_url,
    kind: "self",
    muted: media.audio.value !== "on",
    hand: call.hand.value,
    speaking: speaking.has(user.id),
  });
  return shown;
}

export function Tiles(props: { call: Call; onMore: (id: number) => void }): JSX.Element {
  const { call } = props;
  const shown = shownIn(call);
  /** What the user wants to see large: a key, "" for nothing; `undefined`: not asked. */
  const chosen = useSignal<string | undefined>(undefined);
  const [box, setBox] = useState({ width: 0, height: 0 });
  const list = useRef<HTMLUListElement>(null);

  useLayoutEffect(() => {
    const element = list.current;
    if (element === null) return;
    const measure = () => {
      const { paddingLeft, paddingTop } = getComputedStyle(element);
      setBox({
        width: element.clientWidth - 2 * Number.parseFloat(paddingLeft),
        height: element.clientHeight - 2 * Number.parseFloat(paddingTop),
      });
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  // A screen that is shared anew is what everybody looks at.
  const screens = shown.filter((tile) => tile.kind === "screen").map((tile) => tile.key);
  const lastScreen = screens.at(-1);
  useEffect(() => {
    chosen.value = undefined;
  }, [lastScreen]);

  const wanted = chosen.value ?? lastScreen;
  const stage = shown.length > 1 ? shown.find((tile) => tile.key === wanted)?.key : undefined;
  const rest = shown.filter((tile) => tile.key !== stage);
  const columns = bestColumns(box.width, box.height, shown.length);
  const fitting = Math.max(1, Math.floor(box.width / STRIP_TILE));
  const template =
    stage === undefined
      ? `repeat(${columns * 2}, minmax(0, 1fr))`
      : `minmax(0, 1fr) repeat(${Math.min(rest.length, fitting)}, minmax(0, 190px)) minmax(0, 1fr)`;

  return (
    <ul
      ref={list}
      class={`tiles${stage === undefined ? "" : " staged"}`}
      style={{ gridTemplateColumns: template }}
    >
      {shown.map((tile, index) => {
        const inStrip = rest.indexOf(tile);
        const column =
          stage === undefined
            ? `${startOf(index, shown.length, columns)} / span 2`
            : tile.key === stage
              ? "1 / -1"
              : `${inStrip + 2}`;
        return (
          <Tile
            key={tile.key}
            shown={tile}
            column={column}
            large={tile.key === stage}
            hidden={stage !== undefined && inStrip >= fitting}
            onEnlarge={
              shown.length > 1
                ? () => {
                    chosen.value = tile.key === stage ? "" : tile.key;
                  }
                : undefined
            }
            onMore={() => tile.participant && props.onMore(tile.participant.id)}
            onStop={() => call.media.stopScreen()}
          />
        );
      })}
    </ul>
  );
}

function Tile(props: {
  shown: Shown;
  column: string;
  large: boolean;
  hidden: boolean;
  onEnlarge: (() => void) | undefined;
  onMore: () => void;
  onStop: () => void;
}): JSX.Element {
  const { name, kind, picture, participant } = props.shown;
  const tile = useRef<HTMLLIElement>(null);
  const video = useRef<HTMLVideoElement>(null);
  const link = participant?.link;
  const classes = ["tile", kind];
  if (link === "lost") classes.push("lost");
  if (props.shown.speaking) classes.push("speaking");
  if (props.large) classes.push("large");
  const hasPicture = picture !== null && kind !== "own-screen";
  return (
    <li
      ref={tile}
      class={classes.join(" ")}
      data-link={link}
      hidden={props.hidden}
      style={{ gridColumn: props.column }}
      onDblClick={props.onEnlarge}
    >
      {kind === "own-screen" ? (
        <span class="tile-note">
          <Icon name="screen" />
          <span>{t("screen_shared_by_you")}</span>
          <button type="button" class="button small danger" onClick={props.onStop}>
            {t("stop_sharing")}
          </button>
        </span>
      ) : picture === null ? (
        <span class="tile-avatar">
          <Avatar name={name} seed={props.shown.seed} src={props.shown.face} large />
          <span class="visually-hidden">{t("no_camera")}</span>
        </span>
      ) : (
        <Video element={video} stream={picture} mirrored={kind === "self"} />
      )}
      <span class="tile-label">
        {props.shown.hand && (
          <span class="tile-hand" title={t("hand_up")}>
            <Icon name="hand" />
            <span class="visually-hidden">{t("hand_up")}</span>
          </span>
        )}
        {props.shown.muted && (
          <span class="tile-muted" title={t("muted")}>
            <Icon name="micOff" />
            <span class="visually-hidden">{t("muted")}</span>
          </span>
        )}
        <span class="ellipsis">{name}</span>
      </span>
      {participant !== undefined && <LinkBadge participant={participant} />}
      <span class="tile-actions">
        {hasPicture && kind !== "self" && canFloat && (
          <IconButton
            icon="float"
            label={t("float_picture")}
            onClick={() => floatVideo(video.current).catch(report)}
          />
        )}
        {hasPicture && kind !== "self" && canFullscreen && (
          <IconButton
            icon="expand"
            label={t("full_screen")}
            onClick={() => toggleFullscreen(tile.current, video.current).catch(report)}
          />
        )}
        {props.onEnlarge !== undefined && kind !== "own-screen" && (
          <IconButton
            icon={props.large ? "grid" : "focus"}
            label={t(props.large ? "tile_shrink" : "tile_enlarge", { name })}
            onClick={props.onEnlarge}
          />
        )}
        {participant !== undefined && (
          <IconButton icon="more" label={t("about_participant", { name })} onClick={props.onMore} />
        )}
      </span>
    </li>
  );
}

const LINKS: Record<Link, Key> = {
  connecting: "link_connecting",
  direct: "link_direct",
  relayed: "link_relayed",
  lost: "link_lost",
};

/** In a word how the connection is: the way it takes, or what is wrong with it. */
function LinkBadge({ participant }: { participant: RemoteParticipant }): JSX.Element {
  const { link, quality } = participant;
  const rating = quality === null ? "good" : rate(quality);
  const key = rating === "good" ? LINKS[link] : rating === "fair" ? "link_fair" : "link_poor";
  return (
    <span class={`tile-link ${link} ${rating}`} aria-live="polite">
      <span class="dot" aria-hidden="true" />
      <span class="tile-link-text">{t(key)}</span>
    </span>
  );
}

/** The picture alone; the sound comes from `CallSound`. */
export function Video(props: {
  stream: MediaStream;
  mirrored: boolean;
  element?: { current: HTMLVideoElement | null };
}): JSX.Element {
  const own = useRef<HTMLVideoElement>(null);
  const element = props.element ?? own;
  const { stream } = props;
  useEffect(() => {
    if (element.current !== null) element.current.srcObject = stream;
  }, [stream]);
  return <video ref={element} class={props.mirrored ? "mirrored" : undefined} autoplay playsInline muted />;
}
