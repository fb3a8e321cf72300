// The frame of a screen that is read from the top: its title, the way back on phones, and its parts.

import type { ComponentChildren, JSX } from "preact";
import { t } from "../i18n";
import { Icon } from "../ui/icons";

export function Page(props: {
  title: string;
  broad?: boolean;
  actions?: ComponentChildren;
  tabs?: readonly { href: string; text: string; here: boolean }[];
  children: ComponentChildren;
}): JSX.Element {
  return (
    <div class={props.broad ? "page broad" : "page"}>
      <header class="page-head">
        <a class="icon-button back" href="#/" aria-label={t("to_rooms")} title={t("to_rooms")}>
          <Icon name="back" />
        </a>
        <h1>{props.title}</h1>
        {props.actions}
      </header>
      {props.tabs !== undefined && (
        <nav class="page-tabs" aria-label={props.title}>
          {props.tabs.map(({ href, text, here }) => (
            <a key={href} href={href} aria-current={here ? "page" : undefined}>
              {text}
            </a>
          ))}
        </nav>
      )}
      {props.children}
    </div>
  );
}
