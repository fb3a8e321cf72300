// The texts of the client in all of its languages, and how a text becomes a sentence. Pure: the language that is
// chosen now is left to `index.ts`.

import { web as en } from "@locales/en.json";
import { web as ru } from "@locales/ru.json";

export const LANGUAGES = { en: "English", ru: "Русский" } as const;
export type Language = keyof typeof LANGUAGES;

/** A text, or its forms by the language's plural categories, chosen by the parameter `count`. */
export type Text = string | Partial<Record<Intl.LDMLPluralRule, string>>;
export type Params = Record<string, string | number>;
export type Key = keyof typeof en & keyof typeof ru;

// A key that is missing in either language does not compile.
export const CATALOGUES: Record<Language, Record<Key, Text>> = {
  en: en satisfies Record<keyof typeof ru, Text>,
  ru: ru satisfies Record<keyof typeof en, Text>,
};

/** The first language of the reader that there is a catalogue for. */
export function preferred(languages: readonly string[]): Language {
  for (const tag of languages) {
    const primary = tag.toLowerCase().split("-")[0];
    if (primary === "en" || primary === "ru") return primary;
  }
  return "en";
}

export function format(text: Text, tag: Language, params: Params = {}): string {
  let template = text;
  if (typeof template !== "string") {
    const form = new Intl.PluralRules(tag).select(Number(params.count));
    template = template[form] ?? template.other ?? "";
  }
  return template.replace(/\{(\w+)\}/g, (hole, name: string) => String(params[name] ?? hole));
}
