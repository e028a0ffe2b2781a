/* What every page needs: theme, dialogs, notes, busy buttons, answers to refused forms, keys, the jump box.
   All of it is comfort: without this file links are links and forms are forms. */
(() => {
  "use strict";
  const $ = (s, within = document) => within.querySelector(s);
  const $$ = (s, within = document) => [...within.querySelectorAll(s)];
  const root = document.documentElement;
  const me = root.dataset.user || "";

  // --- notes: bottom right, 6 s, they wait while looked at, errors stay ------------------------------------------
  const note = (text, { bad = false } = {}) => {
    const box = $("#notes"), mould = $(bad ? "#note-bad" : "#note-good");
    if (!box || !mould || !text) return null;
    const el = mould.content.firstElementChild.cloneNode(true);
    $("span", el).textContent = text;
    box.append(el);
    if (bad) return el;
    let timer;
    const leave = () => { timer = setTimeout(() => el.remove(), 6000); };
    for (const stop of ["pointerenter", "focusin"]) el.addEventListener(stop, () => clearTimeout(timer));
    for (const go of ["pointerleave", "focusout"]) el.addEventListener(go, leave);
    leave();
    return el;
  };
  document.addEventListener("click", (e) => {
    const close = e.target.closest("[data-note-close]");
    if (close) close.closest(".note").remove();
  });
  document.addEventListener("muster:note", (e) => note(e.detail.text || e.detail.value, { bad: e.detail.bad }));

  // --- dialogs ----------------------------------------------------------------------------------------------------
  // A link to the page that asks the question opens the dialog that asks the same, where there is one.
  const openDialog = (id) => {
    const box = document.getElementById(id);
    if (!box || !box.showModal) return false;
    if (!box.open) {
      const back = document.activeElement;
      box.addEventListener("close", () => { if (back && back.isConnected) back.focus(); }, { once: true });
      box.showModal();
      if (id === "keys") listKeys(box);
      if (id === "jump" && query) beginJump();
      const first = $("[data-first], [autofocus]", box);
      if (first) first.focus();
    }
    return true;
  };
  // A question is fetched when it is asked, so that it says how things stand now. Without script the link is its page.
  const ask = async (href) => {
    const body = $("#ask-body");
    if (!body || !window.htmx) return false;
    body.replaceChildren();
    try { await htmx.ajax("GET", href, { target: "#ask-body", swap: "innerHTML" }); } catch { /* said below */ }
    if (!body.firstElementChild) { location.assign(href); return false; }
    return openDialog("ask");
  };
  document.addEventListener("click", (e) => {
    const asker = e.target.closest("a[data-ask]");
    if (asker && !e.defaultPrevented && !e.ctrlKey && !e.metaKey && window.htmx) {
      e.preventDefault();
      const menu = asker.closest("[popover]");
      if (menu) menu.hidePopover();
      ask(asker.href);
    }
    const opener = e.target.closest("[data-dialog]");
    if (opener && opener.getAttribute("aria-disabled") !== "true" && !e.ctrlKey && !e.metaKey) {
      const menu = opener.closest("[popover]");
      if (menu) menu.hidePopover();
      if (openDialog(opener.dataset.dialog)) e.preventDefault();
    }
    const closer = e.target.closest("dialog [data-close]"); // on a page of its own the same link leads back
    if (closer) { e.preventDefault(); closer.closest("dialog").close(); }
    if (e.target instanceof HTMLDialogElement && e.target.open && !$("textarea, input[type=text]", e.target)) {
      const r = e.target.getBoundingClientRect(); // a click on the backdrop closes what holds no text
      if (e.clientX < r.left || e.clientX > r.right || e.clientY < r.top || e.clientY > r.bottom) e.target.close();
    }
  });
  // Where there is no right, the button says so and does nothing.
  document.addEventListener("click", (e) => {
    if (e.target.closest('[aria-disabled="true"]')) { e.preventDefault(); e.stopImmediatePropagation(); }
  }, true);

  // The installed app has a page of its own for when Muster cannot be reached: see sw.js.
  const installed = navigator.standalone || matchMedia("(display-mode: standalone)").matches;
  if (installed && "serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js").catch(() => {});

  // --- theme ------------------------------------------------------------------------------------------------------
  const showTheme = (theme) => {
    if (theme === "system") delete root.dataset.bsTheme; else root.dataset.bsTheme = theme;
    $$("[data-theme-set]").forEach((b) => b.setAttribute("aria-pressed", String(b.value === theme)));
    document.dispatchEvent(new CustomEvent("muster:theme"));
  };
  document.addEventListener("click", (e) => {
    const button = e.target.closest("[data-theme-set]");
    if (button) showTheme(button.value); // htmx stores it with the person
  });

  // --- requests: busy while under way, and what a refusal says -----------------------------------------------------
  const senderOf = (e) => {
    const el = e.detail.elt, by = e.detail.requestConfig && e.detail.requestConfig.triggeringEvent;
    return (by && by.submitter) || (el.matches("form") ? $("[type=submit], button:not([type])", el) : el.matches(".btn") ? el : null);
  };
  document.addEventListener("htmx:beforeRequest", (e) => {
    const button = senderOf(e);
    if (button) { button.setAttribute("aria-busy", "true"); e.detail.elt.busyButton = button; }
  });
  document.addEventListener("htmx:afterRequest", (e) => {
    if (e.detail.elt.busyButton) e.detail.elt.busyButton.removeAttribute("aria-busy");
    const form = e.detail.elt, quiet = !form.matches("form") || form.method !== "post";
    if (quiet || !e.detail.successful) return;
    const box = form.closest("dialog");
    if (box && box.open && !("keepOpen" in form.dataset)) { box.close(); form.reset(); }
    refuse(form, "");
  });
  const refuse = (form, text) => {
    const line = form.matches("form") ? $("[data-refused]", form) : null;
    if (line) { line.hidden = !text; $("span", line).textContent = text; }
    return Boolean(line);
  };
  // A form with data-once carries a key: what arrived before does not happen twice.
  const again = (form, otherwise) => ("once" in form.dataset ? "Send it again: it will not be there twice." : otherwise);
  const sentence = (xhr, form) => {
    if (xhr.getResponseHeader("X-Muster-Sentence")) return xhr.responseText.trim();
    if (xhr.status === 403) return "Not done: you have no right to it, or your sign-in ended. Reload the page to see.";
    if (xhr.status === 404) return "Not done: it is no longer there.";
    return `The server answered ${xhr.status}. Your text is kept. ${again(form, "Look whether it happened, then try again.")}`;
  };
  document.addEventListener("htmx:responseError", (e) => {
    const { elt, xhr, requestConfig } = e.detail;
    if (requestConfig.verb === "get") return; // a panel that could not be read shows what it has
    const text = sentence(xhr, elt), seen = xhr.getResponseHeader("X-Muster-Seen");
    if (seen !== null && elt.elements && elt.elements.seen) elt.elements.seen.value = decodeURIComponent(seen);
    if (!refuse(elt, text)) note(text, { bad: true });
    if (xhr.status === 409) document.body.dispatchEvent(new CustomEvent("incident:changed", { bubbles: true }));
  });
  document.addEventListener("htmx:sendError", (e) => {
    if (e.detail.requestConfig.verb === "get") return;
    const text = `No answer: the connection is gone. Your text is kept. ${again(e.detail.elt, "Look whether it happened before you send it again.")}`;
    if (!refuse(e.detail.elt, text)) note(text, { bad: true });
  });

  // A button whose meaning changed does nothing for 600 ms: the hand may already be on its way.
  document.addEventListener("htmx:oobAfterSwap", (e) => guard(e.detail.target));
  document.addEventListener("htmx:afterSwap", (e) => guard(e.detail.target));
  const guard = (region) => {
    if (!region || !region.matches || !region.matches("[data-guard]")) return;
    const meaning = $$("button, a.btn", region).map((b) => b.textContent.trim()).join("|");
    if (region.dataset.meaning !== undefined && region.dataset.meaning !== meaning) {
      region.inert = true;
      setTimeout(() => { region.inert = false; }, 600);
    }
    region.dataset.meaning = meaning;
  };
  $$("[data-guard]").forEach(guard);

  // A region with an open menu waits until the menu is closed.
  document.addEventListener("htmx:beforeRequest", (e) => {
    const region = e.detail.elt;
    if (!region.matches("[data-guard]") || !$("[popover]:popover-open", region)) return;
    e.preventDefault();
    $("[popover]:popover-open", region).addEventListener("toggle", () => htmx.trigger(region, "incident:changed"), { once: true });
  });

  // "you", in what all viewers share
  const mark = (within) => {
    if (!me) return;
    if (within.dataset && within.dataset.person === me) within.dataset.me = "";
    for (const el of $$(`[data-person="${CSS.escape(me)}"]`, within)) el.dataset.me = "";
  };
  mark(document);
  new MutationObserver((changes) => {
    for (const c of changes) for (const n of c.addedNodes) if (n.nodeType === 1) mark(n);
  }).observe(document.body, { childList: true, subtree: true });

  // New entries are read out politely, by the feed itself; that somebody is paged is said at once.
  const feed = $("#feed"), sayNow = $("#say-now");
  if (feed && sayNow) {
    const seqOf = (li) => Number(li.dataset.seq || 0);
    let told = Math.max(0, ...$$(":scope > [data-seq]", feed).map(seqOf));
    new MutationObserver((changes) => {
      for (const c of changes) for (const n of c.addedNodes) {
        if (n.nodeType !== 1 || seqOf(n) <= told) continue; // an earlier one, or a new version
        told = seqOf(n);
        if (!n.matches('[data-kind="page"], [data-kind="nobody"]')) continue;
        const words = n.cloneNode(true);
        $$("time, svg", words).forEach((el) => el.remove());
        sayNow.textContent = words.textContent.replace(/\s+/g, " ").trim();
      }
    }).observe(feed, { childList: true });
  }

  // Pages that show several incidents read themselves again when one changes, region by region. A region under the
  // pointer or with the focus inside waits when its rows would move, so that nothing slips away under a hand.
  const frame = $("[data-regions]");
  if (frame) {
    const waiting = new Map();
    const rows = (el) => $$("a[href]", el).map((a) => a.getAttribute("href")).join(" ");
    const busy = (el) => el.matches(":hover") || el.contains(document.activeElement);
    const put = (old, fresh) => {
      if (busy(old) && rows(old) !== rows(fresh)) { waiting.set(old.id, fresh); return; }
      waiting.delete(old.id);
      if (old.contains(document.activeElement) && window.Idiomorph) window.Idiomorph.morph(old, fresh);
      else { old.replaceWith(fresh); if (window.htmx) htmx.process(fresh); }
      if (fresh.dataset.title) document.title = fresh.dataset.title;
    };
    const settle = () => setTimeout(() => waiting.forEach((fresh, id) => { const old = document.getElementById(id); if (old) put(old, fresh); }), 200);
    let reading = false, again = false;
    const read = async () => {
      if (reading) { again = true; return; }
      reading = true;
      try {
        const answer = await fetch(frame.dataset.regions, { headers: { "HX-Request": "true" }, cache: "no-store" });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          for (const old of $$("[data-region]", frame)) {
            const fresh = page.getElementById(old.id);
            if (fresh) put(old, document.adoptNode(fresh));
          }
        }
      } catch { /* the bar says that the page is not live */ }
      reading = false;
      if (again) { again = false; read(); }
    };
    document.addEventListener("incidents:changed", read);
    frame.addEventListener("pointerout", settle);
    frame.addEventListener("focusout", settle);
  }

  // Filters act when they change; the button is for those without script.
  $$("[data-filters]").forEach((form) => {
    form.addEventListener("change", (e) => { if (!e.target.matches("[type=search], [type=text]")) form.requestSubmit(); });
    // On a phone the filters fold away while none is set: what burns comes first.
    const toggle = $("[data-filter-toggle]", form);
    if (!toggle) return;
    const fold = (folded) => { form.classList.toggle("is-folded", folded); toggle.setAttribute("aria-expanded", String(!folded)); };
    toggle.hidden = false;
    fold(!("filtered" in form.dataset));
    toggle.addEventListener("click", () => fold(!form.classList.contains("is-folded")));
  });

  // --- keys -------------------------------------------------------------------------------------------------------
  const store = { get: (k) => { try { return localStorage.getItem(k); } catch { return null; } },
                  set: (k, v) => { try { localStorage.setItem(k, v); } catch { /* private window */ } } };
  const singles = () => store.get("muster.keys") !== "off";
  const keySwitch = $("#keys-on");
  if (keySwitch) {
    keySwitch.checked = singles();
    keySwitch.addEventListener("change", () => store.set("muster.keys", keySwitch.checked ? "on" : "off"));
  }
  let went = 0;
  document.addEventListener("keydown", (e) => {
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") { if (openDialog("jump")) e.preventDefault(); return; }
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || !singles()) return;
    if (e.target.closest("input, textarea, select, [contenteditable], dialog")) return;
    if (Date.now() - went < 1500) {
      went = 0;
      const link = $(`[data-go="${CSS.escape(e.key)}"]`);
      if (link) { e.preventDefault(); link.click(); }
      return;
    }
    if (e.key === "g") { went = Date.now(); return; }
    if (e.key === "?") { e.preventDefault(); openDialog("keys"); return; }
    const press = $(`[data-key="${CSS.escape(e.key)}"]`);
    if (press && press.getAttribute("aria-disabled") !== "true" && !press.closest("[inert]")) {
      e.preventDefault();
      if (press.matches("textarea, input")) press.focus(); else press.click();
    }
  });

  // "?" lists the keys of what is on this page now, and no others.
  const listKeys = (box) => {
    const listed = new Set();
    for (const dt of $$("dt[data-needs]", box)) {
      dt.hidden = dt.nextElementSibling.hidden = !$(dt.dataset.needs);
      if (!dt.hidden) listed.add($("kbd", dt).textContent);
    }
    const part = $("[data-keys]", box), rows = $("dl", part);
    $$("[data-found-key]", rows).forEach((el) => el.remove());
    for (const el of $$("[data-key]")) {
      if (listed.has(el.dataset.key) || el.closest("dialog")) continue;
      listed.add(el.dataset.key);
      const dt = document.createElement("dt"), dd = document.createElement("dd"), key = document.createElement("kbd");
      key.textContent = el.dataset.key;
      dd.textContent = el.getAttribute("aria-label") || el.textContent.trim();
      dt.append(key);
      dt.dataset.foundKey = dd.dataset.foundKey = "";
      rows.append(dt, dd);
    }
    part.hidden = !$("dt:not([hidden])", rows);
  };

  // --- the palette: what this page can do, then what the server finds --------------------------------------------
  const jump = $("#jump"), query = $("#jump-q");
  const list = $("#found-list"), here = $("#found-here"), found = $("#found");
  const options = () => $$("[role=option]", list).filter((o) => !o.closest(".is-stale"));
  const choose = (option) => {
    $$("[role=option]", list).forEach((o) => o.setAttribute("aria-selected", String(o === option)));
    if (option) { query.setAttribute("aria-activedescendant", option.id); option.scrollIntoView({ block: "nearest" }); }
    else query.removeAttribute("aria-activedescendant");
  };
  const chosen = () => $("[aria-selected=true]", list);
  const number = () => options().forEach((o, at) => { o.id = `found-${at}`; });
  // Buttons and links that are on the page anyway: choosing one here presses it there.
  const DOING = "#acts a[href], #acts button, .page-head a.btn[href], .page-head button, [data-theme-set]";
  const fillHere = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean), named = new Set();
    here.replaceChildren();
    for (const el of $$(DOING)) {
      if (el.hasAttribute("popovertarget") || el.getAttribute("aria-disabled") === "true" || el.closest("[inert]")) continue;
      const text = el.textContent.replace(/\s+/g, " ").trim(), label = "themeSet" in el.dataset ? `Theme: ${text.toLowerCase()}` : text;
      if (!label || named.has(label) || !words.every((word) => label.toLowerCase().includes(word))) continue;
      if (!words.length && "themeSet" in el.dataset) continue;
      named.add(label);
      const option = document.createElement("div"), name = document.createElement("span"), what = document.createElement("span");
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      name.className = "clip";
      name.textContent = label;
      what.className = "t-meta t-3";
      what.textContent = "here";
      const icon = $("svg", el);
      option.append(icon ? icon.cloneNode(true) : document.createElement("span"), name, what);
      option.addEventListener("click", () => { jump.close(); el.click(); });
      here.append(option);
    }
    here.hidden = !here.firstElementChild;
    number();
  };
  const beginJump = () => {
    query.select();
    fillHere();
    choose(null);
  };
  if (jump && query) {
    query.addEventListener("input", () => {
      found.classList.add("is-stale"); // what stands there belongs to another text
      fillHere();
      choose(query.value.trim() ? options()[0] : null);
    });
    jump.addEventListener("htmx:afterSwap", () => {
      found.classList.remove("is-stale");
      number();
      const kept = chosen();
      choose(kept || (query.value.trim() ? options()[0] : null));
      $("#found-said").textContent = `${options().length} found`;
    });
    query.addEventListener("keydown", (e) => {
      const all = options(), at = all.indexOf(chosen());
      if (e.key === "ArrowDown" || e.key === "ArrowUp") {
        e.preventDefault();
        const next = e.key === "ArrowDown" ? at + 1 : at < 0 ? all.length - 1 : at - 1;
        choose(all[(next + all.length) % all.length]);
      } else if (e.key === "Enter" && !e.isComposing && at >= 0) {
        e.preventDefault();
        all[at].click();
      }
    });
  }

  window.Muster = Object.assign(window.Muster || {}, { note, openDialog, ask, store, refuse });
})();
