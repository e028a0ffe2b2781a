/* The live stream of a page: what happens appears by itself, in order, without gaps; when it cannot, the page says so.

   <body data-incident="42">   follows the incident; any other page follows all of them.
   Entries go through Muster.place (room.js); the parts of "slots" are swapped by id, only when they say something new.
   Events on body:  incident:changed    {ids, groups, seq}   after a batch that changes more than the talk
                    incidents:changed   {ids}                on pages that show several
                    muster:paged        {page, ref, …}       the viewer is called
   #live holds the word "Live"; #offline is made here; #here says who is in the room, and [data-person] of who is gets
   data-here. The server's side is incidents/live/. */
(() => {
  "use strict";
  const $ = (s, within = document) => within.querySelector(s);
  const $$ = (s, within = document) => [...within.querySelectorAll(s)];
  const root = document.documentElement, body = document.body, M = window.Muster || {};
  if (!window.EventSource || !root.dataset.user) return;

  const incident = body.dataset.incident;
  const address = body.dataset.live || (incident ? `/live/incidents/${incident}/` : "/live/now/");
  const SILENCE = 5000;   // then the page says that it is not live
  const GIVE_UP = 9000;   // then the connection is taken for dead
  const REST = 30000;     // hidden for so long, the page lets its connection go: browsers have six for a host
  const SLICE = 8;        // ms of work before typing gets its turn
  const MOST = 30;        // entries of a slice, as the browser then lays them out

  let seen = M.lastSeq ? M.lastSeq() : 0;   // every entry up to this one is here
  let source = null, timer = 0, retryAt = 0, tries = 0;
  let heardAt = Date.now(), graceUntil = Date.now() + SILENCE;
  let openedAt = 0, opens = 0, fresh = false;
  let lost = false, since = 0, stopped = "", viewers = 1, resting = false, restTimer = 0;

  // --- saying how it stands -----------------------------------------------------------------------------------------
  const say = (text) => { const line = $("#say"); if (line) line.textContent = text; };
  const word = (text, state) => {
    const el = $("#live");
    if (!el) return;
    el.dataset.state = state;
    el.classList.toggle("good", state === "live");
    const last = $("[data-live-word]", el) || el;
    if (last.textContent.trim() !== text) last.textContent = text;
  };
  const clockOf = (at) => (M.say ? M.say(at, "clock") : new Date(at).toLocaleTimeString());
  const serverTime = (at) => (M.now ? at + (M.now() - Date.now()) : at);

  let bar = null;
  const makeBar = () => {
    const el = document.createElement("div");
    el.className = "offline";
    el.id = "offline";
    el.setAttribute("role", "status");
    el.append(document.createElement("span"));
    const mould = $("#offline-icon");
    if (mould) el.prepend(mould.content.cloneNode(true));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn btn-line btn-sm";
    button.addEventListener("click", () => { if (stopped) location.reload(); else { tries = 0; open(); } });
    el.append(button);
    const head = $(".banner") || $(".appbar");
    if (head) head.after(el); else body.prepend(el);
    return el;
  };
  const showBar = () => {
    const what = document.createElement("b");
    what.textContent = "Not live.";
    const left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const next = stopped || (timer && left ? `Trying again in ${left} s.` : "Trying again.");
    const text = ` You see ${clockOf(serverTime(heardAt))}. ${next} Timers and pages go on without this page.`;
    bar = bar || makeBar();
    const line = $("span", bar), button = $("button", bar);
    if (line.textContent !== what.textContent + text) line.replaceChildren(what, text);
    const label = stopped ? "Reload the page" : "Try now";
    if (button.textContent !== label) button.textContent = label;
  };
  const hideBar = () => { if (bar) { bar.remove(); bar = null; } };

  const lose = () => {
    if (!lost) { lost = true; since = 0; word("Not live", "lost"); }
    showBar();
  };
  const heard = () => { heardAt = Date.now(); };
  const alive = () => {
    heard();
    tries = 0;
    if (lost) say(since ? `Live again, ${since} new` : "Live again, nothing new");
    lost = false;
    hideBar();
    word("Live", "live");
    // A list does not know what it has missed.
    if (fresh && opens > 1 && !incident) listsChanged([]);
    fresh = false;
  };

  // --- the connection -----------------------------------------------------------------------------------------------
  const shut = () => {
    clearTimeout(timer);
    timer = 0;
    if (source) { source.close(); source = null; }
  };
  const later = (ms) => {
    shut();
    retryAt = Date.now() + ms;
    timer = setTimeout(open, ms);
  };
  const failed = () => {
    shut();
    if (stopped || resting) return;
    tries += 1;
    later(Math.min(1000 * 2 ** (tries - 1), 15000) * (0.5 + Math.random() / 2));
    if (tries === 1 || tries % 4 === 0) why();
  };
  // EventSource does not tell why it was refused.
  const why = async () => {
    let status = 0;
    try { status = (await fetch(address, { method: "HEAD", cache: "no-store" })).status; } catch { return; }
    const sentence = {
      401: "You are signed out. Sign in to go on.",
      403: "You may not see this any more.",
      404: "It is no longer there.",
      429: "Twenty live pages of yours are open. Close one, then reload this one.",
    }[status];
    if (sentence) stop(sentence);
  };
  const stop = (sentence) => { stopped = sentence; shut(); lose(); };

  const HANDLERS = {
    entry: (e) => take(Number(e.lastEventId), e.data),
    slots: (e) => { pendingSlots = e.data; soon(); },
    reload: (e) => reread(JSON.parse(e.data).seq),
    changed: (e) => listsChanged(JSON.parse(e.data).ids),
    page: (e) => paged(JSON.parse(e.data)),
    here: (e) => { who = JSON.parse(e.data); showHere(); },
    beat: (e) => {
      const data = JSON.parse(e.data);
      viewers = data.viewers || 1;
      if (M.setServerTime) M.setServerTime(data.now);
      alive();
    },
    bye: (e) => {
      if (JSON.parse(e.data).reason === "signed_out") stop("You are signed out. Sign in to go on.");
      else later(200 + Math.random() * 1000);
    },
  };
  function open() {
    shut();
    if (stopped) return;
    resting = false;
    const mine = source = new EventSource(incident ? `${address}?after=${seen}` : address);
    openedAt = Date.now();
    opens += 1;
    fresh = true;
    mine.onerror = () => { if (mine === source) failed(); };
    for (const [name, handle] of Object.entries(HANDLERS)) {
      mine.addEventListener(name, (e) => {
        if (mine !== source) return;
        heard();
        handle(e);
      });
    }
  }
  setInterval(() => {
    if (resting || (document.hidden && !lost)) return;
    const now = Date.now();
    if (stopped) { lose(); return; }
    if (now - heardAt > SILENCE && now > graceUntil) lose();
    if (source && now - Math.max(heardAt, openedAt) > GIVE_UP) failed();
  }, 500);

  const wake = () => {
    clearTimeout(restTimer);
    if (stopped) return;
    if (resting || !source || Date.now() - heardAt > SILENCE) {
      graceUntil = Date.now() + 1500;
      tries = 0;
      open();
    }
  };
  const rest = () => { if (!stopped) { resting = true; shut(); } };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(restTimer);
    if (document.hidden) restTimer = setTimeout(rest, REST); else wake();
  });
  addEventListener("online", wake);
  addEventListener("pagehide", rest);
  addEventListener("pageshow", (e) => { if (e.persisted) wake(); });

  // --- entries and slots: a little at a time, so that a burst never holds up typing -----------------------------------
  const waiting = [];
  let pendingSlots = null, working = 0, groups = new Set(), got = 0;
  const mould = document.createElement("template");
  const parse = (html) => { mould.innerHTML = html; return mould.content; };

  const take = (seq, html) => {
    if (seq <= seen) return;
    seen = seq;
    if (lost) since += 1;
    waiting.push(html);
    soon();
  };
  const soon = () => { if (!working) working = setTimeout(work, 0); };
  // Not before the browser has drawn what the last slice brought; a hidden page draws nothing.
  const goOn = () => {
    if (document.hidden) { soon(); return; }
    working = setTimeout(work, 250);
    requestAnimationFrame(() => { clearTimeout(working); working = setTimeout(work, 0); });
  };
  const work = () => {
    working = 0;
    const until = performance.now() + SLICE;
    for (let most = MOST; waiting.length && most && performance.now() < until; most -= 1) {
      // An entry, and after it the new version of the older one that it is about.
      const entries = [...parse(waiting.shift()).children].filter((el) => el.matches("li"));
      if (!entries.length) continue;
      groups.add(entries[0].dataset.group || "course");
      got += 1;
      if (M.place) entries.forEach((li) => M.place(li));
    }
    if (waiting.length) { goOn(); return; }
    if (pendingSlots !== null) { const html = pendingSlots; pendingSlots = null; swap(html); }
    if (got) tell();
  };
  // Each browser fetches what is its own (buttons, the ladder); many of them do not come all at once.
  let telling = 0;
  const tell = () => {
    if ([...groups].every((group) => group === "message")) { groups = new Set(); got = 0; return; }
    if (telling) return;
    telling = setTimeout(() => {
      const detail = { ids: [Number(incident)], groups: [...groups], seq: seen };
      telling = 0; groups = new Set(); got = 0;
      body.dispatchEvent(new CustomEvent("incident:changed", { bubbles: true, detail }));
    }, 20 + Math.random() * Math.min(viewers * 10, 2000));
  };

  const localise = (within) => {
    if (!M.say) return;
    for (const el of $$("time[data-t]", within)) {
      const at = Date.parse(el.dateTime);
      if (at) el.textContent = M.say(at, el.dataset.t);
    }
  };
  // What a part says, without what the clocks write and the browser adds.
  const meaning = (el) => {
    const copy = el.cloneNode(true);
    for (const x of [copy, ...$$("[data-due], [data-since], [data-ago]", copy)]) {
      if (!("due" in x.dataset || "since" in x.dataset || "ago" in x.dataset)) continue;
      x.textContent = "";
      x.classList.remove("clock-word");
      if (!x.classList.length) x.removeAttribute("class");
      const box = x.closest(".clock, .tier");
      if (box && "due" in x.dataset) delete box.dataset.state;
    }
    for (const x of $$("progress", copy)) x.removeAttribute("value");
    for (const x of [copy, ...$$("[data-me], [data-here], details", copy)]) { delete x.dataset.me; delete x.dataset.here; x.removeAttribute("open"); }
    const filled = $("#here", copy);
    if (filled) filled.replaceChildren();
    return copy.outerHTML.replace(/>\s+</g, "><");
  };
  const MORPH = {
    morphStyle: "outerHTML",
    ignoreActiveValue: true,
    callbacks: {
      beforeAttributeUpdated: (name) => !["data-me", "data-here", "open", "inert", "data-meaning"].includes(name),
      beforeNodeMorphed: (old) => old.id !== "here",
    },
  };
  const swap = (html) => {
    const holder = parse(html).firstElementChild;
    if (!holder) return;
    if (M.setServerTime && holder.dataset.now) M.setServerTime(holder.dataset.now);
    localise(holder);
    for (const fresh of [...holder.children]) {
      const old = fresh.id && document.getElementById(fresh.id);
      if (!old || meaning(old) === meaning(fresh)) continue;
      // Sections keep focus, open details and scroll; a clock is put in whole, so that it counts at once.
      const whole = fresh.id.startsWith("b-") && !old.contains(document.activeElement);
      if (whole || !window.Idiomorph) old.replaceWith(document.adoptNode(fresh));
      else window.Idiomorph.morph(old, document.adoptNode(fresh), MORPH);
    }
    showHere();
  };

  // Who is in the room: a number that opens into names, and a dot at each of them who stands on the page.
  let who = null, shown = "";
  const showHere = () => {
    const place = $("#here"), mould = $("#here-mould");
    if (!who || !place || !mould) return;
    const ids = new Set([...who.people.map((one) => String(one.id)), ...(who.ids || []).map(String)]);
    for (const el of $$("[data-person]")) {
      if (ids.has(el.dataset.person)) { if (!("here" in el.dataset)) el.dataset.here = ""; }
      else if ("here" in el.dataset) delete el.dataset.here;
    }
    const key = JSON.stringify(who);
    if (shown === key && place.firstElementChild) return;
    shown = key;
    if (!place.firstElementChild) place.append(mould.content.cloneNode(true));
    $("[data-here-count]", place).textContent = `${who.people.length + who.others} here`;
    $("[data-here-names]", place).replaceChildren(...who.people.map((one) => {
      const row = document.createElement("li"), face = document.createElement("span");
      face.className = "avatar avatar-sm";
      face.setAttribute("aria-hidden", "true");
      face.textContent = one.initials;
      row.append(face, one.name);
      if (String(one.id) === root.dataset.user) row.append(" (you)");
      return row;
    }));
    const more = $("[data-here-more]", place);
    more.hidden = !who.others;
    more.textContent = `and ${who.others} more`;
  };

  // Too much was missed to bring it entry by entry: read the page again, and take its feed and slots.
  const reread = async (seq) => {
    const from = seen;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!M.refill || !$("#feed", page)) throw new Error("no feed");
      since += M.refill(page);
      seen = Math.max(seen, seq, M.lastSeq());
      groups.add("course");
      got += 1;
      tell();
    } catch {
      seen = from;  // entries that came meanwhile have moved it past the gap
      later(2000);
    }
  };

  // --- lists ----------------------------------------------------------------------------------------------------------
  let changedIds = new Set(), listTimer = 0;
  const listsChanged = (ids) => {
    ids.forEach((id) => changedIds.add(id));
    if (listTimer) return;
    listTimer = setTimeout(() => {
      listTimer = 0;
      const detail = { ids: [...changedIds] };
      changedIds = new Set();
      body.dispatchEvent(new CustomEvent("incidents:changed", { bubbles: true, detail }));
    }, 50 + Math.random() * 450);
  };

  // --- the viewer is called -------------------------------------------------------------------------------------------
  const told = new Set();
  // Its note goes when the page is over: its time has come, or in the room the viewer's button to answer is gone.
  const watchCall = (note, page) => {
    const acts = Number(incident) === page.incident ? $("#acts") : null;
    const waits = () => Boolean($('#acts [data-key="a"]'));
    let waited = false;
    const over = () => { clearTimeout(timer); if (watcher) watcher.disconnect(); note.remove(); };
    const timer = page.answer_by ? setTimeout(over, Math.min(Math.max(Date.parse(page.answer_by) - (M.now ? M.now() : Date.now()), 0), 2 ** 31 - 1)) : 0;
    const watcher = acts ? new MutationObserver(() => { const now = waits(); if (waited && !now) over(); waited = waited || now; }) : null;
    if (watcher) { waited = waits(); watcher.observe(acts.parentElement, { childList: true, subtree: true }); }
  };
  const paged = (page) => {
    if (told.has(page.page)) return;
    told.add(page.page);
    if (M.note) {
      const until = page.answer_by ? ` Answer by ${clockOf(Date.parse(page.answer_by))}.` : "";
      const note = M.note(`${page.drill ? "DRILL: you" : "You"} are paged: SEV${page.severity} ${page.title} (${page.ref}).${until}`, { bad: true });
      if (note) watchCall(note, page);
    }
    body.dispatchEvent(new CustomEvent("muster:paged", { bubbles: true, detail: page }));
    if (Number(incident) === page.incident) body.dispatchEvent(new CustomEvent("incident:changed", { bubbles: true, detail: { ids: [page.incident], groups: ["page"], seq: seen } }));
  };

  if (window.Muster) window.Muster.localise = localise;
  word("Connecting", "connecting");
  open();
})();
