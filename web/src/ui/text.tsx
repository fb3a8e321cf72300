// What somebody wrote, drawn from its tree: never as markup of its own.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { t } from "../i18n";
import { IconButton } from "./components";
import { copyText } from "./copy";
import { type Block, type Inline, isOnlyEmoji, parse } from "./markdown";

/** `known`: lower-case names that are mentions, and whether that means the reader. */
export function MessageText(props: {
  content: string;
  known?: ReadonlyMap<string, boolean>;
  inline?: boolean;
}): JSX.Element {
  const tree = useMemo(() => parse(props.content), [props.content]);
  const large = useMemo(() => isOnlyEmoji(props.content), [props.content]);
  const known = props.known ?? NOBODY;
  return (
    <div class={large ? "text large-emoji" : "text"}>
      {tree.map((block, at) => drawBlock(block, known, at))}
    </div>
  );
}

const NOBODY: ReadonlyMap<string, boolean> = new Map();
type Known = ReadonlyMap<string, boolean>;

function drawBlock(block: Block, known: Known, key: number): JSX.Element {
  switch (block.kind) {
    case "paragraph":
      return <p key={key}>{draw(block.children, known)}</p>;
    case "heading":
      return (
        <p key={key} class="heading">
          {draw(block.children, known)}
        </p>
      );
    case "quote":
      return (
        <blockquote key={key}>{block.children.map((inner, at) => drawBlock(inner, known, at))}</blockquote>
      );
    case "list": {
      const items = block.items.map((item, at) => <li key={at}>{draw(item, known)}</li>);
      return block.ordered ? (
        <ol key={key} start={block.start}>
          {items}
        </ol>
      ) : (
        <ul key={key}>{items}</ul>
      );
    }
    case "code":
      return (
        <div key={key} class="code-block">
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: scrolled by keyboard */}
          <pre tabIndex={0}>
            <code>{block.text}</code>
          </pre>
          <IconButton icon="copy" label={t("copy_code")} onClick={() => void copyText(block.text)} />
        </div>
      );
  }
}

const draw = (parts: readonly Inline[], known: Known): (JSX.Element | string)[] =>
  parts.map((part, key) => drawInline(part, known, key));

function drawInline(part: Inline, known: Known, key: number): JSX.Element | string {
  switch (part.kind) {
    case "text":
      return part.text;
    case "code":
      return <code key={key}>{part.text}</code>;
    case "strong":
      return <strong key={key}>{draw(part.children, known)}</strong>;
    case "em":
      return <em key={key}>{draw(part.children, known)}</em>;
    case "del":
      return <del key={key}>{draw(part.children, known)}</del>;
    case "link":
      return (
        <a key={key} href={part.href} target="_blank" rel="noopener noreferrer">
          {draw(part.children, known)}
        </a>
      );
    case "mention": {
      const me = known.get(part.name.toLowerCase());
      return me === undefined ? (
        part.text
      ) : (
        <span key={key} class={me ? "mention me" : "mention"}>
          {part.text}
        </span>
      );
    }
  }
}
