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
  let follow = true, unseen = 0, loadingEarlier = false, drawn = 0, end = 0;
  const toEnd = () => { box.scrollTop = box.scrollHeight; end = box.scrollTop; };
  // Where the end is, is known once the browser has laid out what came, so it is asked once for each picture.
  const toEndSoon = () => { drawn = drawn || requestAnimationFrame(() => { drawn = 0; if (follow) toEnd(); }); };
  const atEnd = () => (drawn && box.scrollTop >= end - 48) || nearEnd();
  const showPill = () => {
    pill.hidden = follow;
    window.Muster.write($("span", pill), unseen ? `${unseen} new` : "To now");
  };
  const seen = () => { unseen = 0; showPill(); };
  // Every entry up to this one is here or was left out by the filter in the address.
  let newest = Math.max(Number(feed.dataset.last || 0), feed.dataset.held === "all" && last() ? seqOf(last()) : 0);

  /* Put one rendered <li id="e-17" data-seq="17"> where it belongs: at the end, in its place when late, over itself
     when edited. Known and unchanged: nothing happens. Returns true when the feed changed. */
  const place = (html) => {
    const li = typeof html === "string" ? new DOMParser().parseFromString(html, "text/html").body.querySelector("li") : html;
    if (!li || !li.id) return false;
    const known = document.getElementById(li.id);
    if (!known && "echo" in li.dataset) return false;  // a new version of an entry that is not shown here
    if (known) {
      if (Number(li.dataset.rev || 0) <= Number(known.dataset.rev || 0)) return false;
      known.replaceWith(document.adoptNode(li));
      return true;
    }
    const seq = seqOf(li);
    newest = Math.max(newest, seq);
    let after = last();
    while (after && seqOf(after) > seq) after = before(after.previousElementSibling);
    const added = document.adoptNode(li);
    // What comes is not marked yet, so it does not belong among what is.
    if (["pinned", "starred"].includes(feed.dataset.show)) added.classList.add("is-away");
    if (after) after.after(added);
    else if (feed.querySelector(":scope > [data-seq]")) feed.querySelector(":scope > [data-seq]").before(added);
    else feed.append(added);
    return true;
  };

  new MutationObserver((changes) => {
    let shown = 0;
    const fresh = [];
    for (const c of changes) for (const n of c.addedNodes) {
      if (n.nodeType !== 1 || !n.matches("[data-seq]")) continue;
      if (loadingEarlier || refilled.has(n) || "echo" in n.dataset) continue;
      fresh.push(n);
      if (["all", n.dataset.group].includes(feed.dataset.show)) shown += 1;
    }
    if (!fresh.length) return;
    count(fresh);
    if (document.hidden) newLine(changes);
    if (follow) toEndSoon();
    else { unseen += shown; showPill(); }
  }).observe(feed, { childList: true });

  box.addEventListener("scroll", () => { follow = atEnd(); if (follow) seen(); else showPill(); }, { passive: true });
  new ResizeObserver(() => { if (follow) toEnd(); }).observe(box);
  pill.addEventListener("click", () => { follow = true; toEnd(); seen(); box.focus({ preventScroll: true }); });

  // "New since you looked away": a line before what came while the page was hidden; kept until the person writes.
  const newLine = (changes) => {
    if ($("#new-line")) return;
    const first = changes.flatMap((c) => [...c.addedNodes]).find((n) => n.nodeType === 1 && n.matches("[data-seq]"));
    const mould = $("#new-line-mould");
    if (first && mould) feed.insertBefore(mould.content.firstElementChild.cloneNode(true), first);
  };

  // --- the tabs over the feed: links that work without script -------------------------------------------------------
  const tabs = $$("a[data-show-only]");
  const refilled = new WeakSet();
  /* The feed as another reading of the page has it; what came meanwhile stays. Returns how many entries are new here. */
  const refill = (page) => {
    const fresh = $("#feed", page);
    if (!fresh) throw new Error("no feed");
    if (window.Muster.localise) window.Muster.localise(fresh);
    const upto = Math.max(Number(fresh.dataset.last || 0), ...$$(":scope > [data-seq]", fresh).map(seqOf));
    const ids = new Set($$(":scope > [data-seq]", feed).map((li) => li.id));
    const later = $$(":scope > [data-seq]", feed).filter((li) => seqOf(li) > upto && !fresh.querySelector(`#${li.id}`));
    const rows = [...fresh.children].map((li) => document.adoptNode(li));
    rows.concat(later).forEach((li) => refilled.add(li));
    feed.replaceChildren(...rows, ...later);
    feed.dataset.held = fresh.dataset.held;
    for (const tab of tabs) {
      const el = $(".count", tab), now = $(`a[data-show-only="${tab.dataset.showOnly}"] .count`, page);
      if (el && now) el.textContent = now.textContent;
    }
    later.forEach((li) => li.classList.remove("is-away"));
    count(later);
    newest = Math.max(newest, upto);
    if (window.htmx) htmx.process(feed);
    fold();
    if (follow) toEnd();
    return rows.filter((li) => li.id && !ids.has(li.id)).length;
  };
  let asked = 0;
  const showOnly = async (tab) => {
    if (tab.getAttribute("aria-current") === "true") { toEnd(); return; }
    const mine = asked += 1;
    // All that fits is here already, unless earlier entries are not loaded or the address has left some out. And what
    // to say where nothing fits, the server knows.
    const number = $(".count", tab);
    if ($("#earlier", feed) || feed.dataset.held !== "all" || !number || number.textContent === "0") {
      const answer = await fetch(tab.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine !== asked) return;
      follow = true;
      refill(page);
    }
    tabs.forEach((t) => { if (t === tab) t.setAttribute("aria-current", "true"); else t.removeAttribute("aria-current"); });
    feed.dataset.show = tab.dataset.showOnly;
    history.replaceState(history.state, "", tab.href);
    toEnd();
  };
  const count = (more) => {
    for (const tab of tabs) {
      const group = tab.dataset.showOnly, el = $(".count", tab);
      const by = group === "all" ? more.length : more.filter((li) => li.dataset.group === group).length;
      if (el && by) window.Muster.write(el, String(Number(el.textContent) + by));
    }
  };
  tabs.forEach((tab) => tab.addEventListener("click", (e) => {
    if (e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    showOnly(tab).catch(() => location.assign(tab.href));
  }));

  // A run of alerts is one line, until somebody wants to see it: its first and its last stay. Only what was there when
  // the page was opened folds, so nothing vanishes under the eyes.
  const RUN = 6;
  const unfold = (line) => {
    let li = line.nextElementSibling;
    line.remove();
    for (; li && li.classList.contains("is-folded"); li = li.nextElementSibling) li.classList.remove("is-folded");
  };
  const fold = () => {
    const mould = $("#folded-mould");
    let run = [];
    const close = () => {
      const inner = run.slice(1, -1);
      if (run.length >= RUN && mould) {
        const line = mould.content.firstElementChild.cloneNode(true);
        $("button", line).textContent = `${inner.length} alerts and changes folded`;
        $("button", line).addEventListener("click", () => { const first = inner[0]; unfold(line); first.tabIndex = -1; first.focus(); });
        inner.forEach((li) => li.classList.add("is-folded"));
        inner[0].before(line);
      }
      run = [];
    };
    for (const li of $$(":scope > li", feed)) {
      if (li.dataset.seq && li.dataset.group === "alert" && !li.classList.contains("is-folded")) run.push(li); else close();
    }
    close();
  };

  // Earlier entries load above, and what is being read stays under the eye.
  let below = 0;
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (!e.detail.shouldSwap || !e.detail.target.matches || !e.detail.target.matches("#earlier")) return;
    loadingEarlier = true;
    below = box.scrollHeight - box.scrollTop;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (!loadingEarlier) return;
    fold();
    box.scrollTop = box.scrollHeight - below;
    setTimeout(() => { loadingEarlier = false; });
  });

  // What the viewer may do is read again with #acts; the style of what all viewers share goes by it.
  document.addEventListener("htmx:afterSettle", () => {
    const acts = $("#acts");
    const may = $("#acts-why") ? "none" : acts && "withdraws" in acts.dataset ? "all" : "";
    if (acts && may !== (room.dataset.acts || "")) { if (may) room.dataset.acts = may; else delete room.dataset.acts; }
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

  // An address that ends in #e-17 shows that entry; when it is not on this page, the page of the earlier ones has it.
  const toNamed = () => {
    const name = /^#e-(\d{1,9})$/.exec(location.hash);
    if (!name) return false;
    const li = document.getElementById(`e-${name[1]}`);
    if (li) {
      let line = li.classList.contains("is-folded") ? li : null;
      while (line && line.dataset.seq) line = line.previousElementSibling;
      if (line) unfold(line);
      follow = false;
      showPill();
      li.scrollIntoView({ block: "center" });
      return true;
    }
    const seq = Number(name[1]);
    if (seq > 0 && seq <= newest) location.assign(`${location.pathname}earlier/?before=${seq + 20}#e-${seq}`);
    return false;
  };
  fold();
  addEventListener("hashchange", toNamed);
  if (!toNamed()) {
    toEnd();
    requestAnimationFrame(() => { if (follow) toEnd(); });
  }
  // fonts change heights
  if (document.fonts && document.fonts.ready) document.fonts.ready.then(() => { if (follow) toEnd(); });
  const toNewest = () => { follow = true; toEnd(); };
  window.Muster = Object.assign(window.Muster, { place, toNewest, refill, lastSeq: () => newest });
})();
