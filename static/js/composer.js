/* Writing to the room: drafts are kept, commands and names are offered while they are typed, files are pasted or dropped,
   entries are answered and pinned by key, and the own message is there at once. After room.js. */
(() => {
  "use strict";
  const $ = (s, within = document) => within.querySelector(s);
  const $$ = (s, within = document) => [...within.querySelectorAll(s)];
  const { store, place, toNewest, refuse } = window.Muster;

  // What can be done with an entry is reached by j and k, not by a stop of Tab for each of many entries.
  const feed = $("#feed");
  const quiet = (within) => $$(".entry-act", within).forEach((a) => { a.tabIndex = -1; });
  if (feed) {
    quiet(feed);
    // An entry that comes anew because it was pinned or amended keeps the focus that its older self had.
    let focused = "";
    feed.addEventListener("focusin", (e) => { const li = e.target.closest("[data-seq]"); focused = li ? li.id : ""; });
    document.addEventListener("focusin", (e) => { if (!feed.contains(e.target)) focused = ""; });
    new MutationObserver((changes) => {
      for (const n of changes.flatMap((c) => [...c.addedNodes])) {
        if (n.nodeType !== 1) continue;
        quiet(n);
        if (focused && n.id === focused && document.activeElement === document.body) { n.tabIndex = -1; n.focus({ preventScroll: true }); }
      }
    }).observe(feed, { childList: true });
  }

  const say = $("#say-text"), form = $("#composer"), menu = $("#slash"), ats = $("#ats"), usage = $("#usage");
  if (!say || say.disabled) return;
  const draft = `muster.draft.${document.body.dataset.incident}`;
  const grow = () => { say.style.height = ""; if (!CSS.supports("field-sizing", "content")) say.rows = Math.min(8, say.value.split("\n").length); };
  if (!say.value && store.get(draft)) say.value = store.get(draft);
  const written = () => { store.set(draft, say.value); grow(); offer(); };
  const write = (text, at = text.length) => { say.value = text; say.focus(); say.setSelectionRange(at, at); written(); };

  // --- what is offered while typing -------------------------------------------------------------------------------
  const options = (list) => $$("[role=option]", list).filter((o) => !o.hidden);
  const choose = (list, o) => {
    $$("[role=option]", list).forEach((x) => x.setAttribute("aria-selected", String(x === o)));
    if (o) { say.setAttribute("aria-activedescendant", o.id); o.scrollIntoView({ block: "nearest" }); }
  };
  const show = (list, on) => {
    list.hidden = !on || !options(list).length;
    if (!list.hidden) { say.setAttribute("aria-controls", list.id); choose(list, options(list)[0]); }
    if (menu.hidden && ats.hidden) say.removeAttribute("aria-activedescendant");
  };
  const close = () => { show(menu, false); show(ats, false); };
  const commandOf = (name) => $$("[role=option]", menu).find((o) => o.dataset.names.split(" ").includes(name));

  // What may be commanded changes with the incident: the list is read again when it is needed.
  let stale = false;
  document.body.addEventListener("incident:changed", () => { stale = true; });
  menu.addEventListener("htmx:afterSwap", () => offer());

  const offer = () => {
    const word = /^\/[\w-]*$/.test(say.value) ? say.value.toLowerCase() : "";
    if (word && stale && window.htmx) { stale = false; htmx.trigger(menu, "stale"); }
    $$("[role=option]", menu).forEach((o) => { o.hidden = !o.dataset.names.split(" ").some((name) => name && name.startsWith(word)); });
    show(menu, Boolean(word));
    const typed = /^(\/[A-Za-z][\w-]*)\s/.exec(say.value), known = typed && commandOf(typed[1].toLowerCase());
    usage.hidden = !known;
    if (known) {
      const text = `${$("code", known).textContent}: ${$("span", known).textContent}`;
      if (usage.textContent !== text) usage.textContent = text;
    }
    if (!word) names(); else show(ats, false);
  };

  let looking = 0;
  const atCaret = () => /(?:^|[\s(,])@([\w.+-]*)$/.exec(say.value.slice(0, say.selectionStart));
  const names = () => {
    clearTimeout(looking);
    const found = atCaret();
    if (!found) { show(ats, false); return; }
    looking = setTimeout(async () => {
      let answer;
      try { answer = await fetch(`${form.dataset.mentions}?q=${encodeURIComponent(found[1])}`, { headers: { "HX-Request": "true" } }); } catch { return; }
      if (!answer.ok || !atCaret() || atCaret()[1] !== found[1]) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      ats.replaceChildren(...$$("li", page).map((li) => document.adoptNode(li)));
      show(ats, document.activeElement === say);
    }, 120);
  };

  /* `go`: Enter or a click does it; Tab only completes the word, so that the rest can be typed. */
  const take = (o, go) => {
    if (o.dataset.mention) {
      const found = atCaret(), at = say.selectionStart;
      if (!found) return;
      const head = `${say.value.slice(0, at - found[1].length - 1)}${o.dataset.mention} `;
      write(head + say.value.slice(at), head.length);
      show(ats, false);
    } else if (go && o.dataset.opens) {
      write("");
      close();
      window.Muster.ask(o.dataset.opens);
    } else write(`${o.dataset.command} `);
  };
  for (const list of [menu, ats]) list.addEventListener("mousedown", (e) => {
    const o = e.target.closest("[role=option]");
    e.preventDefault();  // the focus stays in the text
    if (o) take(o, true);
  });
  $$("[data-slash]").forEach((b) => {
    b.hidden = !commandOf(b.dataset.slash);
    b.addEventListener("click", () => { const o = commandOf(b.dataset.slash); if (o) take(o, true); });
  });

  say.addEventListener("input", () => { written(); refuse(form, ""); });
  say.addEventListener("blur", close);
  say.addEventListener("keydown", (e) => {
    const list = menu.hidden ? ats : menu;
    if (!list.hidden) {
      const all = options(list), at = all.findIndex((o) => o.getAttribute("aria-selected") === "true");
      if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); choose(list, all[(at + (e.key === "ArrowDown" ? 1 : all.length - 1)) % all.length]); return; }
      if ((e.key === "Enter" && !e.shiftKey) || e.key === "Tab") { e.preventDefault(); take(all[Math.max(at, 0)], e.key === "Enter"); return; }
      if (e.key === "Escape") { close(); return; }
    }
    if (e.key === "Escape") { if (reply.value) answer(null); else say.blur(); return; }
    // With a real keyboard Enter sends and Shift+Enter breaks the line; on touch the button sends.
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing && matchMedia("(hover: hover)").matches) {
      e.preventDefault();
      if (say.value.trim() || picker.files.length) form.requestSubmit();
    }
  });

  // --- answering an entry, and what else its keys do ----------------------------------------------------------------
  const reply = $("#reply-to"), bar = $("#reply-bar");
  const answer = (li) => {
    reply.value = li ? li.dataset.seq : "";
    bar.hidden = !li;
    if (!li) return;
    const words = $(".talk, p", li);
    $("span", bar).textContent = words ? words.textContent.replace(/\s+/g, " ").trim() : "";
    say.focus();
  };
  $("button", bar).addEventListener("click", () => { answer(null); say.focus(); });
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || store.get("muster.keys") === "off") return;
    const li = document.activeElement && document.activeElement.closest(".feed > .entry[data-seq]");
    if (!li || e.target.closest("input, textarea, select, dialog")) return;
    const act = $(".entry-act", li), where = `${form.dataset.entries}${li.dataset.seq}/`;
    if (e.key === "r") { e.preventDefault(); answer(li); }
    else if (e.key === "e" && act) { e.preventDefault(); act.click(); }
    else if (e.key === "p" && window.htmx) { e.preventDefault(); htmx.ajax("POST", `${where}mark/`, { values: { mark: "pin", on: "toggle" }, swap: "none" }); }
  });

  // --- files --------------------------------------------------------------------------------------------------------
  const picker = $("#say-files"), chosen = $("#chosen"), MOST = 5, HEAVIEST = 30 * 1024 * 1024;
  const size = (bytes) => (bytes < 1048576 ? `${Math.max(1, Math.round(bytes / 1024))} KB` : `${(bytes / 1048576).toFixed(1)} MB`);
  const hold = (files) => {
    const kept = new DataTransfer();
    files.forEach((file) => kept.items.add(file));
    picker.files = kept.files;
    list();
  };
  const list = () => {
    const files = [...picker.files];
    chosen.hidden = !files.length;
    chosen.replaceChildren(...files.map((file) => {
      const row = document.createElement("li"), name = document.createElement("span"), small = document.createElement("small"), drop = document.createElement("button");
      name.textContent = file.name;
      small.textContent = size(file.size);
      drop.type = "button";
      drop.className = "btn btn-quiet btn-icon btn-sm";
      drop.setAttribute("aria-label", `Leave ${file.name} out`);
      drop.textContent = "×";
      drop.addEventListener("click", () => { hold([...picker.files].filter((other) => other !== file)); say.focus(); });
      row.append(name, small, drop);
      return row;
    }));
    const heavy = files.reduce((sum, file) => sum + file.size, 0) > HEAVIEST;
    refuse(form, files.length > MOST ? `At most ${MOST} files in one message.` : heavy ? "Together at most 30 MB." : "");
  };
  picker.addEventListener("change", () => { list(); say.focus(); });
  const add = (files) => { if (files.length) hold([...picker.files, ...files]); };
  say.addEventListener("paste", (e) => {
    const files = [...(e.clipboardData ? e.clipboardData.files : [])];
    if (files.length) { e.preventDefault(); add(files); }
  });
  const room = form.parentElement;
  for (const kind of ["dragover", "drop"]) room.addEventListener(kind, (e) => {
    if (!e.dataTransfer || ![...e.dataTransfer.types].includes("Files")) return;
    e.preventDefault();
    if (kind === "drop") { add([...e.dataTransfer.files]); say.focus(); }
  });

  // --- sending ------------------------------------------------------------------------------------------------------
  // The answer to a message is the message as everybody sees it, so it is there even when the live stream is late.
  // A key for each message: sent again because its answer was lost, also after a reload, it is not stored twice.
  const key = $("#composer-key"), tried = `${draft}.key`;
  if (store.get(tried)) key.value = store.get(tried);
  const renew = () => {
    key.value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    store.set(tried, "");
  };
  form.addEventListener("htmx:responseError", (e) => { if (e.detail.xhr.getResponseHeader("X-Muster-Arrived")) renew(); });
  let sent = "", taken = [];
  form.addEventListener("htmx:configRequest", (e) => {
    if (e.detail.elt !== form) return;
    // Enter twice on a slow line: the first took it all, and the second, which waited for it, finds nothing.
    if (!say.value.trim() && !picker.files.length) { e.preventDefault(); say.focus(); return; }
    e.detail.parameters.after = window.Muster.lastSeq();
    store.set(tried, key.value);
    sent = say.value;
    taken = [...picker.files];
  });
  form.addEventListener("htmx:beforeSwap", (e) => { if (e.target === form) e.detail.shouldSwap = false; });
  form.addEventListener("htmx:afterRequest", (e) => {
    if (!e.detail.successful || e.detail.elt !== form) return;
    renew();
    // What was typed or added while it was on its way stays.
    if (say.value === sent) say.value = "";
    store.set(draft, say.value);
    answer(null);
    hold([...picker.files].filter((file) => !taken.includes(file)));
    grow();
    offer();
    const line = $("#new-line");
    if (line) line.remove();
    const page = new DOMParser().parseFromString(e.detail.xhr.responseText, "text/html");
    $$("li[data-seq]", page.body).forEach(place);
    toNewest();
  });
  list();
  written();
  close();
})();
