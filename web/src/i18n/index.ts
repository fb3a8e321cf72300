// The language that is chosen now, and what depends on it: texts, dates, times.

import { computed, effect, signal } from "@preact/signals";
import { CATALOGUES, format, type Key, type Language, type Params, preferred } from "./catalogue";

export { type Key, LANGUAGES, type Language } from "./catalogue";

const STORED = "moznods.language";

export const language = signal<Language>(stored() ?? preferred(navigator.languages));

function stored(): Language | null {
  const value = localStorage.getItem(STORED);
  return value === "en" || value === "ru" ? value : null;
}

export function setLanguage(value: Language): void {
  localStorage.setItem(STORED, value);
  language.value = value;
}

effect(() => {
  document.documentElement.lang = language.value;
});

export function t(key: Key, params?: Params): string {
  return format(CATALOGUES[language.value][key], language.value, params);
}

const formats = computed(() => ({
  time: new Intl.DateTimeFormat(language.value, { hour: "2-digit", minute: "2-digit" }),
  day: new Intl.DateTimeFormat(language.value, { weekday: "long", day: "numeric", month: "long" }),
  dayOfYear: new Intl.DateTimeFormat(language.value, { day: "numeric", month: "long", year: "numeric" }),
  full: new Intl.DateTimeFormat(language.value, { dateStyle: "long", timeStyle: "short" }),
  short: new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }),
  month: new Intl.DateTimeFormat(language.value, { month: "long", year: "numeric", timeZone: "UTC" }),
  number: new Intl.NumberFormat(language.value, { maximumFractionDigits: 1 }),
}));

export const formatTime = (date: Date): string => formats.value.time.format(date);
export const formatShort = (date: Date): string => formats.value.short.format(date);
export const formatNumber = (value: number): string => formats.value.number.format(value);

/** `YYYY-MM` as a month of a year. */
export const formatMonth = (month: string): string =>
  formats.value.month.format(new Date(`${month}-01T00:00:00Z`));

/** Seconds in the two largest units that say something. */
export function formatLength(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return t("length_hours", { hours, minutes });
  return minutes > 0
    ? t("length_minutes", { minutes })
    : t("length_seconds", { seconds: Math.floor(seconds) });
}

/** Whether there is a text for what only the running program knows. */
export const hasKey = (key: string): key is Key => key in CATALOGUES.en;

/** Bytes in a unit that a person reads. */
export function formatSize(bytes: number): string {
  const units = ["size_b", "size_kib", "size_mib", "size_gib", "size_tib"] as const;
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return t(units[unit] ?? "size_b", { size: formatNumber(value) });
}
export const formatFull = (date: Date): string => formats.value.full.format(date);

/** "today", "yesterday", or the date; with the year when it is not this one. */
export function formatDay(date: Date, now = new Date()): string {
  if (isSameDay(date, now)) return t("today");
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (isSameDay(date, yesterday)) return t("yesterday");
  return (date.getFullYear() === now.getFullYear() ? formats.value.day : formats.value.dayOfYear).format(
    date,
  );
}

export const isSameDay = (a: Date, b: Date): boolean => a.toDateString() === b.toDateString();
