/* The war room: the feed stays where the reader left it, drafts are kept, commands open their dialogs, and on a phone
   one part of the room is shown at a time. Entries come from live.js or from the answer to one's own note;
   both go through Muster.place(). */
(() => {
  "use strict";
  const $ = (s, within = document) => within.querySelector(s);
  const $$ = (s, within = document) => [...within.querySelectorAll(s)];
  const { store } = window.Muster;
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
      if (loadingEarlier) continue;
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
    } else if (e.key === "/") { e.preventDefault(); say.focus(); say.value = "/"; filter(); }
  });

  // --- phone: one part at a time ------------------------------------------------------------------------------------
  const show = (view) => {
    room.dataset.view = view;
    $$(".tabbar [data-view]").forEach((t) => (t.dataset.view === view ? t.setAttribute("aria-current", "true") : t.removeAttribute("aria-current")));
    if (view === "line" && follow) toEnd();
  };
  $$(".tabbar [data-view]").forEach((tab) => tab.addEventListener("click", () => show(tab.dataset.view)));

  // --- writing ------------------------------------------------------------------------------------------------------
  const say = $("#say-text"), form = $("#composer"), menu = $("#slash");
  if (say && !say.disabled) {
    const draft = `muster.draft.${room.dataset.incident}`;
    const grow = () => { say.style.height = ""; if (!CSS.supports("field-sizing", "content")) say.rows = Math.min(8, say.value.split("\n").length); };
    if (!say.value && store.get(draft)) say.value = store.get(draft);
    grow();
    say.addEventListener("input", () => { store.set(draft, say.value); grow(); filter(); window.Muster.refuse(form, ""); });

    const options = () => $$("[role=option]", menu).filter((o) => !o.hidden);
    const choose = (o) => {
      $$("[role=option]", menu).forEach((x) => x.setAttribute("aria-selected", String(x === o)));
      if (o) say.setAttribute("aria-activedescendant", o.id); else say.removeAttribute("aria-activedescendant");
    };
    var filter = () => {
      const typed = say.value.trim().toLowerCase();
      $$("[role=option]", menu).forEach((o) => { o.hidden = !o.dataset.command.startsWith(typed); });
      menu.hidden = !typed.startsWith("/") || !options().length;
      say.setAttribute("aria-expanded", String(!menu.hidden));
      choose(menu.hidden ? null : options()[0]);
    };
    const run = (o) => {
      say.value = ""; store.set(draft, ""); menu.hidden = true; filter(); grow();
      window.Muster.ask(o.dataset.opens);
    };
    menu.addEventListener("mousedown", (e) => { const o = e.target.closest("[role=option]"); if (o) { e.preventDefault(); run(o); } });
    say.addEventListener("blur", () => { menu.hidden = true; });
    say.addEventListener("keydown", (e) => {
      if (!menu.hidden) {
        const list = options(), at = list.findIndex((o) => o.getAttribute("aria-selected") === "true");
        if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); choose(list[(at + (e.key === "ArrowDown" ? 1 : list.length - 1)) % list.length]); return; }
        if (e.key === "Enter" || e.key === "Tab") { e.preventDefault(); run(list[Math.max(at, 0)]); return; }
        if (e.key === "Escape") { menu.hidden = true; return; }
      }
      if (e.key === "Escape") { say.blur(); return; }
      // With a real keyboard Enter sends and Shift+Enter breaks the line; on touch the button sends.
      if (e.key === "Enter" && !e.shiftKey && !e.isComposing && matchMedia("(hover: hover)").matches) {
        e.preventDefault();
        if (say.value.trim()) form.requestSubmit();
      }
    });
    $$("[data-slash]").forEach((b) => b.addEventListener("click", () => { const o = $(`[data-command="${b.dataset.slash}"]`); if (o) run(o); }));
    // The answer to a note is the note as everybody sees it, so it is there even when the live stream is late.
    form.addEventListener("htmx:configRequest", (e) => { e.detail.parameters.after = window.Muster.lastSeq(); });
    form.addEventListener("htmx:beforeSwap", (e) => { e.detail.shouldSwap = false; });
    form.addEventListener("htmx:afterRequest", (e) => {
      if (!e.detail.successful) return;
      say.value = ""; store.set(draft, ""); grow();
      const line = $("#new-line");
      if (line) line.remove();
      follow = true;
      const answer = new DOMParser().parseFromString(e.detail.xhr.responseText, "text/html");
      $$("li[data-seq]", answer.body).forEach(place);
      toEnd();
    });
  } else { var filter = () => {}; }

  toEnd();
  requestAnimationFrame(toEnd);
  // fonts change heights
  if (document.fonts && document.fonts.ready) document.fonts.ready.then(() => { if (follow) toEnd(); });
  window.Muster = Object.assign(window.Muster, { place, lastSeq: () => { const el = last(); return el ? seqOf(el) : 0; } });
})();
