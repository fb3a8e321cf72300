// Being told while no page is open: the service worker, the subscription of this browser, the badge of the installed app.

import { computed, effect, signal, untracked } from "@preact/signals";
import { t } from "../i18n";
import { navigate, roomPath } from "../router";
import { rooms } from "./rooms";
import { api, serverConfig, session } from "./session";

/** Whose subscription this browser's is: another user's ends with his sign-in. */
const STORED = "moznods.push";
/** Where the worker finds its words: it has no page to ask. */
export const WORDS = { cache: "moznods-words", path: "/words" } as const;

export const pushState = signal<"impossible" | "denied" | "off" | "on">("impossible");

const canPush = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
let registering: Promise<ServiceWorkerRegistration> | null = null;

function keyOf(base64url: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64url.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** Begins the worker, where the page came over HTTPS. */
export function startWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  registering = navigator.serviceWorker.register("/sw.js");
  registering.catch((error) => console.warn("no service worker", error));
  navigator.serviceWorker.addEventListener("message", (event) => {
    const { open } = event.data ?? {};
    if (typeof open?.room === "number") navigate(roomPath(open.room, open.message ?? undefined));
  });
}

async function look(): Promise<void> {
  const user = session.peek()?.user.id;
  if (!canPush || registering === null) return;
  if (Notification.permission === "denied") {
    pushState.value = "denied";
    return;
  }
  const subscription = await (await registering).pushManager.getSubscription();
  const mine = subscription !== null && localStorage.getItem(STORED) === String(user);
  if (mine) await api.pushSubscribe(subscription.toJSON());
  pushState.value = mine ? "on" : "off";
}

export async function subscribe(): Promise<void> {
  const key = serverConfig.peek()?.push_public_key;
  if (!canPush || registering === null || key == null) return;
  // Browsers ask only at the press of a button.
  if ((await Notification.requestPermission()) !== "granted") {
    pushState.value = Notification.permission === "denied" ? "denied" : "off";
    return;
  }
  const { pushManager } = await registering;
  const subscription = await pushManager.subscribe({
    userVisibleOnly: true,
    applicationServerKey: keyOf(key),
  });
  await api.pushSubscribe(subscription.toJSON());
  localStorage.setItem(STORED, String(session.peek()?.user.id));
  pushState.value = "on";
}

export async function unsubscribe(): Promise<void> {
  if (registering === null) return;
  const subscription = await (await registering).pushManager.getSubscription();
  localStorage.removeItem(STORED);
  if (subscription !== null) {
    await api.pushUnsubscribe(subscription.endpoint).catch(() => {});
    await subscription.unsubscribe();
  }
  pushState.value = "off";
}

const ready = computed(() => session.value !== null && serverConfig.value?.push_public_key != null);
effect(() => {
  if (ready.value) untracked(() => look().catch((error) => console.warn("push", error)));
});

effect(() => {
  const words = { call: t("push_call"), attachment: t("attachment") };
  if (!("caches" in window)) return;
  void caches
    .open(WORDS.cache)
    .then((cache) => cache.put(WORDS.path, new Response(JSON.stringify(words))))
    .catch(() => {});
});

/** What waits for the user: a muted room only where he is named. */
export const waiting = computed(() =>
  [...rooms.value.values()].reduce(
    (sum, room) => sum + (room.is_muted ? room.mention_count : room.unread_count),
    0,
  ),
);

effect(() => {
  const count = waiting.value;
  if (!("setAppBadge" in navigator)) return;
  (count > 0 ? navigator.setAppBadge(count) : navigator.clearAppBadge()).catch(() => {});
});
