// Everybody's sound, whatever screen is open: of people and of shared screens, as loud as the user wants each.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { choices, volumeOf } from "../../call/choices";
import { canChooseSpeaker } from "../../call/media";
import { currentCall } from "../../state/call";

/** iPhones leave the volume to their buttons; off they can be everywhere. */
export const canSetVolume = (() => {
  const probe = document.createElement("audio");
  probe.volume = 0.5;
  return probe.volume === 0.5;
})();

export function CallSound(): JSX.Element {
  const participants = currentCall.value?.call.participants.value ?? [];
  return (
    <div hidden>
      {participants.map(({ id, stream }) => (
        <Sound key={id} stream={stream} volume={volumeOf(id)} />
      ))}
      {participants.map(({ id, screen }) => (
        <Sound key={`screen ${id}`} stream={screen} volume={volumeOf(id)} />
      ))}
    </div>
  );
}

function Sound({ stream, volume }: { stream: MediaStream | null; volume: number }): JSX.Element {
  const element = useRef<HTMLAudioElement>(null);
  const { speaker } = choices.value;
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
  useEffect(() => {
    const audio = element.current;
    if (audio === null) return;
    audio.volume = volume;
    audio.muted = volume === 0;
  }, [volume]);
  useEffect(() => {
    // One that is not there any more: the system's then.
    if (canChooseSpeaker) void element.current?.setSinkId(speaker).catch(() => {});
  }, [speaker]);
  // biome-ignore lint/a11y/useMediaCaption: a live conversation has no captions
  return <audio ref={element} />;
}
