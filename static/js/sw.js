/* The service worker: shows pushes, acknowledges from the notification, and has a page for when Muster cannot be reached.
   It keeps that page and its style, and nothing of anybody. notifications/push/views.py puts `const MUSTER` in front. */
/* global MUSTER */
"use strict";

self.addEventListener("install", (event) => event.waitUntil((async () => {
  const kept = await caches.open(MUSTER.cache);
  await kept.addAll(MUSTER.shell.map((url) => new Request(url, { cache: "reload", credentials: "omit" })));
  await self.skipWaiting();
})()));

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("muster-") && name !== MUSTER.cache) await caches.delete(name);
  if (self.registration.navigationPreload) await self.registration.navigationPreload.enable();
  await self.clients.claim();
})()));

self.addEventListener("fetch", (event) => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(event));
  else if (MUSTER.shell.includes(url.pathname)) event.respondWith(fetch(request).catch(() => kept(url.pathname)));
});
const kept = async (path) => (await caches.match(path, { cacheName: MUSTER.cache })) || Response.error();
const page = async (event) => {
  try {
    return (await event.preloadResponse) || (await fetch(event.request));
  } catch {
    return kept(MUSTER.offline);
  }
};

// --- a push ---------------------------------------------------------------------------------------------------------
const post = (path, body, headers = {}) =>
  fetch(path, { method: "POST", body, headers, credentials: "omit", signal: AbortSignal.timeout(15000) });

const show = (said, { title = said.title, body = said.body, ack = said.ack, urgent = said.urgent, silent = false } = {}) =>
  self.registration.showNotification(title, {
    body,
    tag: said.tag,
    renotify: !silent,
    silent,
    icon: MUSTER.icons[said.icon] || MUSTER.icon,
    badge: MUSTER.badge,
    timestamp: said.at,
    requireInteraction: Boolean(urgent),
    ...(urgent && !silent ? { vibrate: [300, 100, 300, 100, 600] } : {}),
    actions: said.url ? [...(ack ? [{ action: "ack", title: "Acknowledge" }] : []), { action: "open", title: "Open" }] : [],
    data: said,
  });

self.addEventListener("push", (event) => event.waitUntil((async () => {
  let said;
  try {
    said = event.data.json();
  } catch {
    said = { title: "Muster", body: "Something waits for you. Open Muster to see it.", url: MUSTER.pages, tag: "unread" };
  }
  await (said.confirm ? arrived(said) : show(said));
})()));

// The proof that a push arrived here is what stood in it.
const arrived = async (said) => {
  let done = false;
  try {
    const answer = await post(MUSTER.confirm, JSON.stringify({ token: said.confirm }), { "content-type": "application/json" });
    done = answer.ok;
  } catch { /* said below */ }
  await show({ ...said, url: said.url || "" }, done
    ? { title: "Muster reaches you here", body: "This browser is verified. Pages can be sent here now." }
    : { body: `Type ${said.code} into Muster. Then pages can be sent here.` });
  for (const tab of await self.clients.matchAll({ type: "window", includeUncontrolled: true })) {
    tab.postMessage({ muster: done ? "push-verified" : "push-code" });
  }
};

// --- what people do with it -----------------------------------------------------------------------------------------
self.addEventListener("notificationclick", (event) => {
  const said = event.notification.data || {};
  event.notification.close();
  event.waitUntil(event.action === "ack" && said.ack ? acknowledge(said) : open(said.url || MUSTER.pages));
});

const acknowledge = async (said) => {
  let status = 0;
  try {
    // The signed address is the right to answer, so no session is needed, and none is used.
    status = (await post(said.ack, new URLSearchParams({ do: "acknowledge" }))).status;
  } catch { /* 0 */ }
  const done = { urgent: false, silent: true, ack: "" };
  if (status === 200) await show(said, { ...done, body: `You have it. ${said.title}`, title: "Acknowledged" });
  else if (status === 409) await show(said, { ...done, body: `Nothing to do: somebody else has it, or it is over. ${said.title}` });
  else if (status === 404 || status === 410) await show(said, { ...done, body: "This link is too old. Open Muster to see what waits for you." });
  else await show(said, { title: "Not acknowledged", body: `Muster cannot be reached. Press again. ${said.title}`, urgent: true });
};

const open = async (path) => {
  const url = new URL(path, self.location.origin).href;
  for (const tab of await self.clients.matchAll({ type: "window" })) if (tab.url === url) return tab.focus();
  return self.clients.openWindow(url); // a tab of its own: another one may hold half a sentence
};

self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil((async () => {
  const old = event.oldSubscription;
  const now = event.newSubscription
    || await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: MUSTER.key });
  if (!old || !now) return;
  await fetch(MUSTER.renew, {
    method: "POST", credentials: "same-origin", headers: { "content-type": "application/json" },
    body: JSON.stringify({ old: old.endpoint, subscription: now }),
  });
})()));
