// The service worker: the client itself without a network, and what is pushed while no page is open.

/// <reference lib="webworker" />
export type {};

declare const self: ServiceWorkerGlobalScope;
/** Files of this build, put in by it (vite.config.ts). */
declare const __FILES__: readonly string[];
declare const __BUILD__: string;

const SHELL = `moznods-${__BUILD__}`;
const WORDS = "moznods-words";
/** How long a network that does not answer is waited for before the page comes from here. */
const PATIENCE_MS = 4_000;

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(SHELL)
      .then((cache) => cache.addAll(["/", ...__FILES__]))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) =>
        Promise.all(
          names.filter((name) => name !== SHELL && name !== WORDS).map((name) => caches.delete(name)),
        ),
      )
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate" && url.pathname === "/") event.respondWith(page(request));
  // Their names hold a hash of what is in them.
  else if (url.pathname.startsWith("/assets/")) event.respondWith(kept(request));
});

async function page(request: Request): Promise<Response> {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    return (await caches.match("/")) ?? Response.error();
  }
}

async function kept(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}

interface Pushed {
  type: string;
  room_id: number;
  room_name: string;
  from: string;
  text: string;
  message_id?: number;
}

self.addEventListener("push", (event) => {
  let pushed: Pushed;
  try {
    pushed = event.data?.json();
  } catch {
    return;
  }
  event.waitUntil(show(pushed));
});

async function show(pushed: Pushed): Promise<void> {
  const words = await (await caches.open(WORDS))
    .match("/words")
    .then((answer) => answer?.json())
    .catch(() => undefined);
  const call = pushed.type === "call";
  const { from, room_name: room } = pushed;
  await self.registration.showNotification(from === room ? from : `${from} · ${room}`, {
    body: call ? (words?.call ?? "☎") : pushed.text || (words?.attachment ?? "📎"),
    // One of a room takes the place of the one before.
    tag: `${pushed.type}-${pushed.room_id}`,
    icon: "/icons/192.png",
    badge: "/icons/badge.png",
    requireInteraction: call,
    data: { room: pushed.room_id, message: pushed.message_id },
  });
  if ("setAppBadge" in self.navigator) await self.navigator.setAppBadge().catch(() => {});
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});

async function open(at: { room: number; message?: number }): Promise<void> {
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const shown = windows[0];
  if (shown === undefined) {
    const message = at.message === undefined ? "" : `/${at.message}`;
    await self.clients.openWindow(`/#/room/${at.room}${message}`);
    return;
  }
  await shown.focus();
  shown.postMessage({ open: at });
}
