/* The war room: the feed stays where the reader left it, and on a phone one part of the room is shown at a time. Entries come from live.js or from the answer to one's own note;
   both go through Muster.place(). */
(() => {
  "use strict";
  const $ = (s, within = document) => within.querySelector(s);
  const $$ = (s, within = document) => [...within.querySelectorAll(s)];
  const { store } = window.Muster;
  const say = $("#say-text");
  const room = document.body;
  const feed = $("#feed"), box = $("#feed-scroll"), pill = $("#feed-pill");
  if (!feed) return;

  // --- placing entries ----------------------------------------------------------------------------------------------
  const seqOf = (el) => Number(el.dataset.seq || 0);
  const before = (el) => { while (el && !el.dataset.seq) el = el.previousElementSibling; return el; };
  const last = () => before(feed.lastElementChild);
  const nearEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight <= 48;
  let follow = true, unseen = 0, loadingEarlier = false;
  const toEnd = () => { box.scrollTop = box.scrollHeight; };
  const showPill = () => {
    pill.hidden = unseen === 0;
    if (unseen) $("span", pill).textContent = `${unseen} new`;
  };
  const seen = () => { unseen = 0; showPill(); };

  /* Put one rendered <li id="e-17" data-seq="17"> where it belongs: at the end, in its place when late, over itself
     when edited. Known and unchanged: nothing happens. Returns true when the feed changed. */
  const place = (html) => {
    const li = typeof html === "string" ? new DOMParser().parseFromString(html, "text/html").body.querySelector("li") : html;
    if (!li || !li.id) return false;
    const known = document.getElementById(li.id);
    if (!known && "echo" in li.dataset) return false;  // a new version of an entry that is not shown here
    if (known) {
      if (known.dataset.rev === li.dataset.rev) return false;
      known.replaceWith(document.adoptNode(li));
      return true;
    }
    const seq = seqOf(li);
    let after = last();
    while (after && seqOf(after) > seq) after = before(after.previousElementSibling);
    const added = document.adoptNode(li);
    if (after) after.after(added);
    else if (feed.querySelector(":scope > [data-seq]")) feed.querySelector(":scope > [data-seq]").before(added);
    else feed.append(added);
    return true;
  };

  new MutationObserver((changes) => {
    let fresh = 0;
    for (const c of changes) for (const n of c.addedNodes) {
      if (n.nodeType !== 1 || !n.matches("[data-seq]")) continue;
      if (loadingEarlier || "echo" in n.dataset) continue;
      fresh += 1;
      count(n, 1);
    }
    if (!fresh) return;
    if (document.hidden) newLine(changes);
    if (follow) toEnd();
    else { unseen += fresh; showPill(); }
  }).observe(feed, { childList: true });

  box.addEventListener("scroll", () => { follow = nearEnd(); if (follow) seen(); }, { passive: true });
  new ResizeObserver(() => { if (follow) toEnd(); }).observe(box);
  pill.addEventListener("click", () => { follow = true; toEnd(); seen(); box.focus({ preventScroll: true }); });

  // "New since you looked away": a line before what came while the page was hidden; kept until the person writes.
  const newLine = (changes) => {
    if ($("#new-line")) return;
    const first = changes.flatMap((c) => [...c.addedNodes]).find((n) => n.nodeType === 1 && n.matches("[data-seq]"));
    const mould = $("#new-line-mould");
    if (first && mould) feed.insertBefore(mould.content.firstElementChild.cloneNode(true), first);
  };

  // --- the tabs over the feed ---------------------------------------------------------------------------------------
  const tabs = $$("[data-show-only]");
  const count = (li, by) => {
    for (const group of ["all", li.dataset.group]) {
      const el = group && $(`[data-show-only="${group}"] .count`);
      if (el) el.textContent = String(Number(el.textContent) + by);
    }
  };
  tabs.forEach((tab) => tab.addEventListener("click", () => {
    tabs.forEach((t) => t.setAttribute("aria-pressed", String(t === tab)));
    feed.dataset.show = tab.dataset.showOnly;
    toEnd();
  }));

  // Earlier entries load above, and what is being read stays under the eye.
  let below = 0;
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (!e.detail.target.matches || !e.detail.target.matches("#earlier")) return;
    loadingEarlier = true;
    below = box.scrollHeight - box.scrollTop;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!loadingEarlier) return;
    box.scrollTop = box.scrollHeight - below;
    setTimeout(() => { loadingEarlier = false; });
  });

  // --- moving through entries ---------------------------------------------------------------------------------------
  const visible = () => $$(":scope > .entry[data-seq]", feed).filter((li) => li.offsetParent);
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || store.get("muster.keys") === "off") return;
    if (e.target.closest("input, textarea, select, dialog")) return;
    if (e.key === "j" || e.key === "k") {
      const all = visible(), at = all.indexOf(document.activeElement);
      const next = at < 0 ? all[all.length - 1] : all[at + (e.key === "j" ? 1 : -1)];
      if (next) { e.preventDefault(); next.tabIndex = -1; next.focus(); }
    } else if (e.key === "End") { e.preventDefault(); pill.click(); }
    else if (e.key === "Enter" && document.activeElement.matches(".entry")) {
      const link = $("a, summary, button", document.activeElement);
      if (link) { e.preventDefault(); link.click(); }
    } else if ("123".includes(e.key)) {
      e.preventDefault();
      const view = { 1: "people", 2: "line", 3: "run" }[e.key];
      show(view);
      const part = $(`[data-part="${view}"]`);
      if (part) part.focus();
    } else if (e.key === "/") { if (say) { e.preventDefault(); say.focus(); say.value = "/"; say.dispatchEvent(new Event("input")); } }
  });

  // --- phone: one part at a time ------------------------------------------------------------------------------------
  const show = (view) => {
    room.dataset.view = view;
    $$(".tabbar [data-view]").forEach((t) => (t.dataset.view === view ? t.setAttribute("aria-current", "true") : t.removeAttribute("aria-current")));
    if (view === "line" && follow) toEnd();
  };
  $$(".tabbar [data-view]").forEach((tab) => tab.addEventListener("click", () => show(tab.dataset.view)));

  toEnd();
  requestAnimationFrame(toEnd);
  // fonts change heights
  if (document.fonts && document.fonts.ready) document.fonts.ready.then(() => { if (follow) toEnd(); });
  const toNewest = () => { follow = true; toEnd(); };
  window.Muster = Object.assign(window.Muster, { place, toNewest, lastSeq: () => { const el = last(); return el ? seqOf(el) : 0; } });
})();
