// Holds: the same keys in both languages, every plural category they need, the same parameters, and how a text is filled in.
import { describe, expect, it } from "vitest";
import { CATALOGUES, format, type Key, LANGUAGES, type Language, preferred, type Text } from "./catalogue";

const languages = Object.keys(LANGUAGES) as Language[];
const keys = Object.keys(CATALOGUES.en) as Key[];

const forms = (text: Text): string[] => (typeof text === "string" ? [text] : Object.values(text));
const parameters = (text: string): string[] =>
  [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? "").sort();

describe("catalogue", () => {
  it("has the same keys in every language", () => {
    for (const language of languages) expect(Object.keys(CATALOGUES[language])).toEqual(keys);
  });

  it("leaves no text empty and uses the same parameters everywhere", () => {
    for (const key of keys) {
      const expected = parameters(forms(CATALOGUES.en[key])[0] ?? "");
      for (const language of languages) {
        for (const form of forms(CATALOGUES[language][key])) {
          expect(form.trim(), `${language} ${key}`).not.toBe("");
          expect(parameters(form), `${language} ${key}`).toEqual(expected);
        }
      }
    }
  });

  it("has every plural form that the language knows", () => {
    for (const language of languages) {
      const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
      for (const key of keys) {
        const text = CATALOGUES[language][key];
        if (typeof text !== "string")
          expect(Object.keys(text), `${language} ${key}`).toEqual(expect.arrayContaining(categories));
      }
    }
  });

  it("chooses Russian forms by number", () => {
    const members = (count: number) => format(CATALOGUES.ru.members_count, "ru", { count });
    expect([1, 2, 5, 11, 21, 22, 112].map(members)).toEqual([
      "1 участник",
      "2 участника",
      "5 участников",
      "11 участников",
      "21 участник",
      "22 участника",
      "112 участников",
    ]);
  });

  it("puts parameters in as they are, also those that look like patterns", () => {
    expect(format("“{room}” {room} {other}", "en", { room: "$& {room}" })).toBe(
      "“$& {room}” $& {room} {other}",
    );
  });
});

describe("preferred", () => {
  it("takes the first language that there is", () => {
    expect(preferred(["de-DE", "ru-RU", "en"])).toBe("ru");
    expect(preferred(["EN-gb", "ru"])).toBe("en");
    expect(preferred(["fr"])).toBe("en");
    expect(preferred([])).toBe("en");
  });
});
