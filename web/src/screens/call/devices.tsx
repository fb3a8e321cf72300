// Which microphone, camera and speaker: seen and heard at once.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { choices, choose } from "../../call/choices";
import { playTestSound } from "../../call/level";
import type { LocalMedia } from "../../call/local";
import { canChooseSpeaker, type Device, devices, refreshDevices } from "../../call/media";
import { type Key, t } from "../../i18n";
import { report, toast } from "../../state/toasts";
import { Select, Switch } from "../../ui/fields";
import { Icon } from "../../ui/icons";

export function DeviceChoice({ media }: { media: LocalMedia }): JSX.Element {
  const { microphone, camera, speaker, noiseSuppression } = choices.value;
  const { microphones, cameras, speakers } = devices.value;
  useEffect(() => void refreshDevices().catch(() => {}), []);
  return (
    <>
      <div class="field-group">
        <Select
          label={t("microphone")}
          value={microphone}
          options={options(microphones, microphone, "microphone_number")}
          onChange={(id) => {
            choose({ microphone: id });
            media.reopen("audio").catch(report);
          }}
        />
        <LevelMeter media={media} />
      </div>
      <Switch
        label={t("noise_suppression")}
        hint={t("noise_suppression_hint")}
        checked={noiseSuppression}
        onChange={(on) => {
          choose({ noiseSuppression: on });
          media.reopen("audio").catch(report);
        }}
      />
      <Select
        label={t("camera")}
        value={camera}
        options={options(cameras, camera, "camera_number")}
        onChange={(id) => {
          choose({ camera: id });
          media.reopen("video").catch(report);
        }}
      />
      <div class="speaker">
        {canChooseSpeaker ? (
          <Select
            label={t("speaker")}
            value={speaker}
            options={options(speakers, speaker, "speaker_number")}
            onChange={(id) => choose({ speaker: id })}
          />
        ) : (
          <p class="hint">{t("speaker_by_system")}</p>
        )}
        <button
          type="button"
          class="button"
          onClick={() =>
            playTestSound(choices.peek().speaker).catch(() => toast(t("speaker_silent"), "error"))
          }
        >
          <Icon name="sound" />
          {t("speaker_test")}
        </button>
      </div>
    </>
  );
}

function options(found: readonly Device[], chosen: string, numbered: Key): { value: string; text: string }[] {
  const listed = found.map(({ id, label }, index) => ({
    value: id,
    text: label || t(numbered, { number: index + 1 }),
  }));
  // One that is unplugged stays chosen, for when it is back.
  const gone = chosen !== "" && found.every(({ id }) => id !== chosen);
  return [
    { value: "", text: t("device_of_system") },
    ...listed,
    ...(gone ? [{ value: chosen, text: t("device_gone") }] : []),
  ];
}

/** How loud the microphone is, as a bar. It says nothing to the ear: who cannot see it hears others say so. */
export function LevelMeter({ media }: { media: LocalMedia }): JSX.Element {
  const bar = useRef<HTMLSpanElement>(null);
  const meter = media.meter.value;
  const on = media.audio.value === "on";
  useEffect(() => {
    const set = (level: number) => bar.current?.style.setProperty("--level", String(level));
    if (meter === null || !on) return set(0);
    let frame = 0;
    let shown = 0;
    const draw = () => {
      // Falls slowly, so that the eye can follow.
      shown = Math.max(meter.level(), shown - 0.03);
      set(shown);
      frame = requestAnimationFrame(draw);
    };
    draw();
    return () => cancelAnimationFrame(frame);
  }, [meter, on]);
  return (
    <span class={`level${on ? "" : " off"}`} aria-hidden="true">
      <span ref={bar} />
    </span>
  );
}
