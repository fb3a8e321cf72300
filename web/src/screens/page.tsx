// The frame of a screen that is read from the top: its title, the way back on phones, and its parts.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
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
          {props.tabs.map((tab) => (
            <Tab key={tab.href} {...tab} />
          ))}
        </nav>
      )}
      {props.children}
    </div>
  );
}

function Tab({ href, text, here }: { href: string; text: string; here: boolean }): JSX.Element {
  const link = useRef<HTMLAnchorElement>(null);
  // On phones there is not room for all: the one that is open is in sight
  useEffect(() => {
    if (here) link.current?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [here]);
  return (
    <a ref={link} href={href} aria-current={here ? "page" : undefined}>
      {text}
    </a>
  );
}
