// Somebody calls: who it is, and the ways to answer. It takes no focus from one who is writing.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { startRinging } from "../../call/tone";
import { t } from "../../i18n";
import { avatarOf } from "../../state/people";
import { answerCall, declineCall, ringing } from "../../state/ring";
import { rooms } from "../../state/rooms";
import { me } from "../../state/session";
import { Avatar } from "../../ui/components";
import { Icon } from "../../ui/icons";
import { roomTitle } from "../sidebar";

export function IncomingCall(): JSX.Element | null {
  const rung = ringing.value;
  const roomId = rung?.roomId;
  useEffect(() => (roomId === undefined ? undefined : startRinging()), [roomId]);
  if (rung === null) return null;
  const room = rooms.value.get(rung.roomId);
  const name = room === undefined ? rung.from : roomTitle(room, me().id);
  const caller = room?.participant_users.find(({ username }) => username === rung.from);
  return (
    <div class="ring" role="alertdialog" aria-labelledby="ring-name" aria-describedby="ring-text">
      <span class="ring-avatar">
        <Avatar
          name={name}
          seed={rung.from}
          src={caller === undefined ? undefined : avatarOf(caller.id)}
          large
        />
      </span>
      <div class="ring-words" aria-live="assertive">
        <h2 id="ring-name" class="ellipsis">
          {name}
        </h2>
        <p id="ring-text">{t("ring_calls")}</p>
      </div>
      <div class="ring-actions">
        <RingButton icon="hangUp" tone="danger" text={t("ring_decline")} onClick={declineCall} />
        <RingButton
          icon="camera"
          tone="good"
          text={t("ring_answer_video")}
          onClick={() => answerCall(true)}
        />
        <RingButton icon="phone" tone="good" text={t("ring_answer")} onClick={() => answerCall(false)} />
      </div>
    </div>
  );
}

function RingButton(props: {
  icon: "hangUp" | "camera" | "phone";
  tone: "danger" | "good";
  text: string;
  onClick: () => void;
}): JSX.Element {
  return (
    <button type="button" class={`ring-button ${props.tone}`} onClick={props.onClick}>
      <span>
        <Icon name={props.icon} />
      </span>
      {props.text}
    </button>
  );
}
