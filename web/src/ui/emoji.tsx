// A choice of emoji. Screen readers know their names in every language, so none stand here.

import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { placeAt } from "./menu";

/** Those that most answers need. */
export const QUICK = ["👍", "❤️", "😂"] as const;

const ALL =
  "😀 😃 😄 😁 😆 😅 😂 🤣 🙂 🙃 😉 😊 😇 🥰 😍 😘 😋 😜 🤪 🤗 🤭 🤫 🤔 😐 😏 🙄 😬 😌 😔 😴 🤒 🤕 🤢 🥵 🥶 😵 🤯 🥳 😎 🤓 🧐 😕 😟 😮 😲 🥺 😢 😭 😱 😤 😡 🤬 💀 💩 🤡 👻 👽 🤖 " +
  "👍 👎 👌 ✌️ 🤞 🤘 🤙 👈 👉 👆 👇 👋 👏 🙌 👐 🤝 🙏 💪 🧠 👀 " +
  "❤️ 🧡 💛 💚 💙 💜 🖤 🤍 💔 💯 💥 💫 ✨ 🔥 🎉 🎊 🎈 🎁 🏆 🥇 ⭐ 🌟 ⚡ ☀️ 🌧️ ❄️ 🌈 🌸 🌹 🌲 🍀 " +
  "🐶 🐱 🐭 🐰 🦊 🐻 🐼 🐸 🐵 🐔 🐧 🦄 🐝 🐢 🐍 🐙 🐳 " +
  "🍎 🍌 🍓 🍕 🍔 🍟 🍰 🎂 🍪 🍫 ☕ 🍵 🍺 🍷 🥂 " +
  "⚽ 🏀 🎾 🎮 🎲 🎸 🎵 🎬 📷 💻 📱 💡 📌 📎 ✏️ 📅 ⏰ 🔑 🔒 🚗 ✈️ 🚀 🏠 ✅ ❌ ❓ ❗ ➕ 💤";

export function EmojiPicker(props: {
  home: HTMLElement;
  onPick: (emoji: string) => void;
  onClose: () => void;
}): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (box.current === null) return;
    placeAt(box.current, props.home);
    box.current.querySelector("button")?.focus();
  }, [props.home]);
  useEffect(() => {
    window.addEventListener("resize", props.onClose);
    return () => window.removeEventListener("resize", props.onClose);
  }, [props.onClose]);

  function onKeyDown(event: KeyboardEvent): void {
    const buttons = [...(box.current?.querySelectorAll<HTMLElement>("button") ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const top = buttons[0]?.offsetTop;
    const row = Math.max(
      1,
      buttons.findIndex((button) => button.offsetTop !== top),
    );
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row }[event.key];
    if (event.key === "Escape") {
      props.onClose();
      props.home.focus();
    } else if (step !== undefined) buttons[at + step]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: the keyboard closes it with Escape */}
      <div class="menu-veil" onClick={props.onClose} />
      <div
        ref={box}
        class="menu emoji"
        role="dialog"
        aria-label={t("emoji")}
        tabIndex={-1}
        onKeyDown={onKeyDown}
      >
        {ALL.split(" ").map((emoji) => (
          <button key={emoji} type="button" onClick={() => props.onPick(emoji)}>
            {emoji}
          </button>
        ))}
      </div>
    </>
  );
}
