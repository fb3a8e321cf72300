// Push-to-talk: the microphone is open while a key, or a button on the screen, is held down.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { choices } from "../../call/choices";
import type { LocalMedia } from "../../call/local";
import { t } from "../../i18n";
import { currentCall } from "../../state/call";
import { Icon } from "../../ui/icons";

const KEY = "Space";

/** Whether the key means something else where the focus is; `tabbed`: the keyboard has brought it there. */
function isTaken(target: EventTarget | null, tabbed: boolean): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("input, textarea, select, summary")) return true;
  // A button that was reached by the keyboard is pressed with this key; one that was clicked is not.
  return target.matches("button, a") && tabbed;
}

/** Listens to the key as long as there is a call. */
export function PushToTalk(): null {
  const media = currentCall.value?.call.media;
  const on = choices.value.pushToTalk;
  useEffect(() => {
    if (media === undefined || !on) return;
    let tabbed = false;
    const pointed = () => {
      tabbed = false;
    };
    const down = (event: KeyboardEvent) => {
      tabbed ||= event.code === "Tab";
      if (event.code !== KEY || isTaken(event.target, tabbed)) return;
      event.preventDefault();
      if (!event.repeat) media.hold(true);
    };
    const up = (event: KeyboardEvent) => {
      if (event.code !== KEY) return;
      if (!isTaken(event.target, tabbed)) event.preventDefault();
      media.hold(false);
    };
    // A key that is let go elsewhere is not told of.
    const away = () => media.hold(false);
    window.addEventListener("pointerdown", pointed, true);
    window.addEventListener("keydown", down);
    window.addEventListener("keyup", up);
    window.addEventListener("blur", away);
    return () => {
      window.removeEventListener("pointerdown", pointed, true);
      window.removeEventListener("keydown", down);
      window.removeEventListener("keyup", up);
      window.removeEventListener("blur", away);
      media.hold(false);
    };
  }, [media, on]);
  return null;
}

/** For fingers. */
export function TalkButton({ media }: { media: LocalMedia }): JSX.Element {
  const up = () => media.hold(false);
  return (
    <button
      type="button"
      class="button talk"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        media.hold(true);
      }}
      onPointerUp={up}
      onPointerCancel={up}
      onKeyDown={(event) => {
        if ((event.code === KEY || event.code === "Enter") && !event.repeat) media.hold(true);
      }}
      onKeyUp={up}
      onBlur={up}
      onContextMenu={(event) => event.preventDefault()}
    >
      <Icon name="mic" />
      {t("hold_to_talk")}
    </button>
  );
}
