// A careful part of Markdown as a tree: what people write in chats, nothing that could be markup of the page. Each character
// of a text is looked at a bounded number of times, whatever stands in it.

import { linkify } from "./linkify";

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "link"; href: string; children: Inline[] }
  | { kind: "mention"; name: string; text: string }
  | { kind: "strong" | "em" | "del"; children: Inline[] };

export type Block =
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "heading"; children: Inline[] }
  | { kind: "code"; text: string; language: string }
  | { kind: "quote"; children: Block[] }
  | { kind: "list"; ordered: boolean; start: number; items: Inline[][] };

/** Marks within marks, and quotes within quotes, that are looked into. */
const DEPTH = 6;
const ITEM = /^ {0,3}(?:([-*+])|(\d{1,9})[.)])\s+(?=\S)/;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/;

export function parse(content: string): Block[] {
  return blocks(content.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function blocks(lines: readonly string[], depth: number): Block[] {
  const found: Block[] = [];
  let paragraph: string[] = [];
  const flush = () => {
    const text = paragraph.join("\n").replace(/^\n+|\s+$/g, "");
    if (text !== "") found.push({ kind: "paragraph", children: inline(text, 0) });
    paragraph = [];
  };
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const fence = FENCE.exec(line);
    if (fence !== null) {
      const end = closing(lines, at + 1, fence[1] ?? "```");
      // One that is not closed is no code yet.
      if (end !== -1) {
        flush();
        const text = lines.slice(at + 1, end).join("\n");
        found.push({ kind: "code", text, language: fence[2] ?? "" });
        at = end + 1;
        continue;
      }
    }
    if (/^ {0,3}>/.test(line) && depth < DEPTH) {
      flush();
      const quoted: string[] = [];
      for (; at < lines.length && /^ {0,3}>/.test(lines[at] ?? ""); at++)
        quoted.push((lines[at] ?? "").replace(/^ {0,3}> ?/, ""));
      found.push({ kind: "quote", children: blocks(quoted, depth + 1) });
      continue;
    }
    const item = ITEM.exec(line);
    if (item !== null) {
      flush();
      const ordered = item[2] !== undefined;
      const items: Inline[][] = [];
      for (; at < lines.length; at++) {
        const next = ITEM.exec(lines[at] ?? "");
        if (next === null || (next[2] !== undefined) !== ordered) break;
        items.push(inline((lines[at] ?? "").slice(next[0].length), 0));
      }
      found.push({ kind: "list", ordered, start: Number(item[2] ?? 1), items });
      continue;
    }
    const heading = /^ {0,3}#{1,6}\s+(?=\S)/.exec(line);
    if (heading !== null) {
      flush();
      found.push({ kind: "heading", children: inline(line.slice(heading[0].length).trimEnd(), 0) });
    } else if (line.trim() === "" && paragraph.length > 0 && paragraph.at(-1)?.trim() === "") {
      // More than one empty line says no more than one.
    } else paragraph.push(line);
    at++;
  }
  flush();
  return found;
}

/** The line that closes a fence, or -1. */
function closing(lines: readonly string[], from: number, fence: string): number {
  for (let at = from; at < lines.length; at++) {
    const line = (lines[at] ?? "").trim();
    if (line.length >= fence.length && line === (fence[0] ?? "`").repeat(line.length)) return at;
  }
  return -1;
}

const MARKS = { "**": "strong", __: "strong", "~~": "del", "*": "em", _: "em" } as const;
type Mark = keyof typeof MARKS;
const MARK = /\*\*|__|~~|\*|_/;
const WORD = /[\p{L}\p{N}]/u;

function inline(text: string, depth: number): Inline[] {
  const found: Inline[] = [];
  let plain = "";
  const flush = () => {
    if (plain !== "") found.push(...words(plain));
    plain = "";
  };
  /** Marks that are known to have no end in what is left. */
  const open = new Set<string>();
  let at = 0;
  while (at < text.length) {
    const character = text[at] ?? "";
    const next = text[at + 1] ?? "";
    if (character === "\\" && /[\\`*_~[\]()#>@-]/.test(next)) {
      plain += character === "\\" && next === "@" ? "\\@" : next;
      at += 2;
      continue;
    }
    if (character === "`") {
      const ticks = /^`+/.exec(text.slice(at, at + 64))?.[0] ?? "`";
      const end = open.has(ticks) ? -1 : closingTicks(text, at + ticks.length, ticks);
      if (end === -1) {
        open.add(ticks);
        plain += ticks;
        at += ticks.length;
        continue;
      }
      flush();
      found.push({ kind: "code", text: text.slice(at + ticks.length, end).replace(/^ (.*\S.*) $/s, "$1") });
      at = end + ticks.length;
      continue;
    }
    if (character === "[" && depth < DEPTH) {
      const link = linkAt(text, at);
      if (link !== null) {
        flush();
        found.push({
          kind: "link",
          href: link.href,
          children: inline(link.label, DEPTH).filter(({ kind }) => kind !== "link"),
        });
        at = link.end;
        continue;
      }
    }
    // An address is one, whatever signs stand in it.
    if (character === "h" && /^https?:\/\//i.test(text.slice(at, at + 8)) && !WORD.test(text[at - 1] ?? "")) {
      const end = at + (/^[^\s<>"']+/.exec(text.slice(at))?.[0].length ?? 1);
      plain += text.slice(at, end);
      at = end;
      continue;
    }
    const mark = MARK.exec(text.slice(at, at + 2));
    if (mark?.index === 0 && depth < DEPTH) {
      const sign = mark[0] as Mark;
      const end = open.has(sign) ? -1 : closingMark(text, at, sign);
      if (end !== -1) {
        flush();
        found.push({ kind: MARKS[sign], children: inline(text.slice(at + sign.length, end), depth + 1) });
        at = end + sign.length;
        continue;
      }
      if (opens(text, at, sign)) open.add(sign);
      plain += sign;
      at += sign.length;
      continue;
    }
    plain += character;
    at++;
  }
  flush();
  return found;
}

function closingTicks(text: string, from: number, ticks: string): number {
  for (let at = text.indexOf(ticks, from); at !== -1; at = text.indexOf(ticks, at)) {
    let end = at;
    while (text[end] === "`") end++;
    if (end - at === ticks.length) return at;
    at = end;
  }
  return -1;
}

function opens(text: string, at: number, sign: Mark): boolean {
  const inside = text[at + sign.length] ?? " ";
  // `snake_case` is one word.
  return /\S/.test(inside) && !(sign[0] === "_" && WORD.test(text[at - 1] ?? " "));
}

/** Where what begins at `at` ends, or -1. */
function closingMark(text: string, at: number, sign: Mark): number {
  if (!opens(text, at, sign)) return -1;
  const single = sign.length === 1;
  for (let end = at + sign.length + 1; end < text.length; end++) {
    if (text[end] === "`") {
      // Code goes before.
      const close = text.indexOf("`", end + 1);
      if (close !== -1) end = close;
      continue;
    }
    if (!text.startsWith(sign, end)) continue;
    if (single && text[end + 1] === sign) {
      end++;
      continue;
    }
    const before = text[end - 1] ?? " ";
    const after = text[end + sign.length] ?? " ";
    if (/\s/.test(before) || (sign[0] === "_" && WORD.test(after))) continue;
    return end;
  }
  return -1;
}

/** `[label](https://…)`; anything else in brackets is text. */
function linkAt(text: string, at: number): { label: string; href: string; end: number } | null {
  const match = /^\[([^[\]\n]{1,500})\]\((https?:\/\/[^\s()<>"']{1,2000})\)/i.exec(text.slice(at, at + 2510));
  if (match === null) return null;
  const [whole, label = "", address = ""] = match;
  const href = linkify(address)[0]?.href;
  return href === undefined ? null : { label, href, end: at + whole.length };
}

const MENTION = /(?<![\p{L}\p{N}._+\-@/\\])@([\p{L}\p{N}._+-]{1,150})(?!@)/gu;

/** Addresses and names in plain text. */
function words(text: string): Inline[] {
  return linkify(text).flatMap((part): Inline[] => {
    if (part.href !== undefined)
      return [{ kind: "link", href: part.href, children: [{ kind: "text", text: part.text }] }];
    const found: Inline[] = [];
    let end = 0;
    for (const match of part.text.matchAll(MENTION)) {
      const name = (match[1] ?? "").replace(/[^\p{L}\p{N}]+$/u, "");
      if (name === "") continue;
      if (match.index > end) found.push(plain(part.text.slice(end, match.index)));
      found.push({ kind: "mention", name, text: `@${name}` });
      end = match.index + 1 + name.length;
    }
    if (end < part.text.length) found.push(plain(part.text.slice(end)));
    return found;
  });
}

const plain = (text: string): Inline => ({ kind: "text", text: text.replace(/\\@/g, "@") });

const EMOJI = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}{2}|[#*0-9]\ufe0f?\u20e3)/u;

/** Whether a message is nothing but a few emoji, which are then shown large. */
export function isOnlyEmoji(content: string): boolean {
  const text = content.trim();
  if (text === "" || text.length > 60) return false;
  const signs = [...new Intl.Segmenter().segment(text.replace(/\s/g, ""))].map(({ segment }) => segment);
  return signs.length <= 6 && signs.every((sign) => EMOJI.test(sign));
}
