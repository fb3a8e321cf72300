// Holds: what becomes bold, code, a link, a mention, and what stays text; and that no text takes long.
import { describe, expect, it } from "vitest";
import { type Block, type Inline, isOnlyEmoji, parse } from "./markdown";

/** The tree as short text: **strong**, *em*, ~del~, `code`, <href|label>, @{name}. */
const shown = (parts: Inline[]): string =>
  parts
    .map((part) => {
      switch (part.kind) {
        case "text":
          return part.text;
        case "code":
          return `\`${part.text}\``;
        case "link":
          return `<${part.href}|${shown(part.children)}>`;
        case "mention":
          return `@{${part.name}}`;
        default: {
          const sign = { strong: "**", em: "*", del: "~" }[part.kind];
          return sign + shown(part.children) + sign;
        }
      }
    })
    .join("");

const block = (part: Block): string => {
  switch (part.kind) {
    case "code":
      return `code(${part.language}): ${part.text}`;
    case "quote":
      return `> ${part.children.map(block).join(" / ")}`;
    case "list":
      return `${part.ordered ? part.start : "-"}: ${part.items.map(shown).join(" / ")}`;
    default:
      return `${part.kind === "heading" ? "# " : ""}${shown(part.children)}`;
  }
};
const all = (text: string) => parse(text).map(block);

describe("markdown", () => {
  it.each([
    [
      "**bold** and *slanted*, __bold__ _slanted_ ~~gone~~",
      "**bold** and *slanted*, **bold** *slanted* ~gone~",
    ],
    ["**bold with *slanted* in it**", "**bold with *slanted* in it**"],
    ["2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"],
    ["`a **b** c` and ``a ` b``", "`a **b** c` and `a ` b`"],
    ["**not closed, `nor this", "**not closed, `nor this"],
    ["\\*text\\* and \\`text\\`", "*text* and `text`"],
    ["**`**`**", "**`**`**"],
    ["two\nlines", "two\nlines"],
    [
      "[here](https://example.org/a) and [there](javascript:alert(1))",
      "<https://example.org/a|here> and [there](javascript:alert(1))",
    ],
    [
      "see https://example.org/a_b_c?d=*e*.",
      "see <https://example.org/a_b_c?d=*e*|https://example.org/a_b_c?d=*e*>.",
    ],
    ["<b>no</b> &amp; <img src=x onerror=alert(1)>", "<b>no</b> &amp; <img src=x onerror=alert(1)>"],
    ["@anna, @Boris-2! mail@example.org a@b@c \\@vera", "@{anna}, @{Boris-2}! mail@example.org a@b@c @vera"],
    ["`@anna`", "`@anna`"],
  ])("%s", (text, expected) => {
    expect(all(text)).toEqual([expected]);
  });

  it("finds blocks", () => {
    expect(
      all(
        "# Title\ntext\n\n\n\nmore\n> quoted **b**\n> > twice\n- one\n- two\n3. three\n```js\nlet a = '**';\n```\nend",
      ),
    ).toEqual([
      "# Title",
      "text\n\nmore",
      "> quoted **b** / > twice",
      "-: one / two",
      "3: three",
      "code(js): let a = '**';",
      "end",
    ]);
    expect(all("```\nnot closed")).toEqual(["```\nnot closed"]);
    expect(all("")).toEqual([]);
    expect(all("-5 degrees, 1.5 of it")).toEqual(["-5 degrees, 1.5 of it"]);
  });

  it("takes no text long", () => {
    for (const piece of [
      "*",
      "**",
      "_a ",
      "`",
      "``a",
      "[",
      "[a](",
      "> ",
      ">",
      "- ",
      "```\n",
      "@",
      "*a_b~~c",
      "\\",
      "https://",
    ]) {
      const text = piece.repeat(8000 / piece.length);
      const began = performance.now();
      parse(text);
      expect(performance.now() - began, JSON.stringify(piece)).toBeLessThan(100);
    }
  });

  it("knows emoji that stand alone", () => {
    for (const text of ["👍", "❤️ 🎉", "👩‍👩‍👧", "🇷🇺"]) expect(isOnlyEmoji(text), text).toBe(true);
    for (const text of ["", "a", "5", "👍 ok", "👍👍👍👍👍👍👍"]) expect(isOnlyEmoji(text), text).toBe(false);
  });
});
