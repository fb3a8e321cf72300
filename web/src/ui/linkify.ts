// Finds addresses in a message. Everything else stays text; only http and https ever become links.

export type Part = { text: string; href?: string };

export function linkify(content: string): Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of content.matchAll(/https?:\/\/[^\s<>"']+/gi)) {
    const text = trimEnd(match[0]);
    const href = safeHref(text);
    if (href === null) continue;
    if (match.index > end) parts.push({ text: content.slice(end, match.index) });
    parts.push({ text, href });
    end = match.index + text.length;
  }
  if (end < content.length) parts.push({ text: content.slice(end) });
  return parts;
}

/** Punctuation that ends the sentence, not the address; a closing bracket only when none was opened. */
function trimEnd(address: string): string {
  let text = address;
  for (;;) {
    const last = text.at(-1) ?? "";
    const unopened = last === ")" && text.split("(").length < text.split(")").length;
    if (!unopened && !/[.,;:!?»…]/.test(last)) return text;
    text = text.slice(0, -1);
  }
}

function safeHref(text: string): string | null {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
