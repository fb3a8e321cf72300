// Holds: only http and https become links, and the words around them stay as they were.
import { expect, it } from "vitest";
import { linkify } from "./linkify";

const links = (text: string) => linkify(text).flatMap((part) => (part.href === undefined ? [] : [part.href]));
const whole = (text: string) =>
  linkify(text)
    .map((part) => part.text)
    .join("");

it("finds addresses and leaves the sentence's punctuation out", () => {
  expect(links("see https://example.org/a?b=c#d, or (http://example.org/x_(y)).")).toEqual([
    "https://example.org/a?b=c#d",
    "http://example.org/x_(y)",
  ]);
});

it("makes no link of other schemes, of markup, or of what is no address", () => {
  expect(
    links('javascript:alert(1) data:text/html,x <img src="x"> ftp://example.org http:// https://'),
  ).toEqual([]);
});

it("keeps every character of the text", () => {
  for (const text of [
    "",
    "plain",
    "https://a.b!",
    "a https://a.b/c\nhttps://d.e …",
    "x<https://a.b>y",
    'q "https://a.b"',
  ]) {
    expect(whole(text)).toBe(text);
  }
});
