// A list of actions that opens at a button; on phones it comes from the bottom edge. Arrows move in it, Escape closes.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icons";

/** Pixels between the button and its list, and to the edge of the window. */
const GAP = 6;

/** Puts a box that lies above the screen at what it belongs to: beneath, or above where there is no room. */
export function placeAt(box: HTMLElement, home: HTMLElement): void {
  const from = home.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const below = from.bottom + GAP + height <= innerHeight - GAP;
  const top = below ? from.bottom + GAP : Math.max(GAP, from.top - GAP - height);
  const left = Math.max(GAP, Math.min(from.right - width, innerWidth - width - GAP));
  box.style.setProperty("--top", `${top}px`);
  box.style.setProperty("--left", `${left}px`);
}

export function Menu(props: {
  label: string;
  /** What the button shows. */
  children: ComponentChildren;
  items: () => readonly (MenuItem | false | undefined)[];
  class?: string;
}): JSX.Element {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const close = (back: boolean) => {
    setOpen(false);
    if (back) button.current?.focus();
  };
  return (
    <span class="menu-home">
      <button
        ref={button}
        type="button"
        class={props.class ?? "icon-button plain"}
        title={props.label}
        aria-label={props.label}
        aria-haspopup="menu"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {props.children}
      </button>
      {open && <List label={props.label} home={button.current} items={props.items()} onClose={close} />}
    </span>
  );
}

export interface MenuItem {
  icon: IconName;
  text: string;
  danger?: boolean;
  onClick: () => void;
}

function List(props: {
  label: string;
  home: HTMLElement | null;
  items: readonly (MenuItem | false | undefined)[];
  onClose: (back: boolean) => void;
}): JSX.Element {
  const list = useRef<HTMLDivElement>(null);

  useLayoutEffect(() => {
    const box = list.current;
    if (box === null || props.home === null) return;
    placeAt(box, props.home);
    box.querySelector<HTMLElement>("button")?.focus();
  }, [props.home]);

  useEffect(() => {
    const away = () => props.onClose(false);
    window.addEventListener("resize", away);
    return () => window.removeEventListener("resize", away);
  }, []);

  function onKeyDown(event: KeyboardEvent): void {
    const buttons = [...(list.current?.querySelectorAll<HTMLElement>("button") ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Tab") props.onClose(false);
    if (event.key === "Escape") props.onClose(true);
    else if (move !== undefined) buttons.at(move % buttons.length)?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: the keyboard closes it with Escape */}
      <div class="menu-veil" onClick={() => props.onClose(false)} />
      <div ref={list} class="menu" role="menu" tabIndex={-1} aria-label={props.label} onKeyDown={onKeyDown}>
        {props.items.map(
          (item) =>
            item && (
              <button
                key={item.text}
                type="button"
                role="menuitem"
                class={item.danger ? "danger" : undefined}
                onClick={() => {
                  props.onClose(true);
                  item.onClick();
                }}
              >
                <Icon name={item.icon} />
                <span>{item.text}</span>
              </button>
            ),
        )}
      </div>
    </>
  );
}
