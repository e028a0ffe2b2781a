/* Clocks and times.

   The server sends when something is due and its own time; the browser counts, writes a text only when it changes,
   and says what happens next when the time has come. Elements:
     <html data-now="2026-11-24T02:41:08.120Z" data-tz="Europe/Berlin">   the server's time, the viewer's zone
     <time datetime="…Z" data-t="clock|hm|day|date|full">                 put into the viewer's zone
     <* data-since="…Z">                                                  counts up, 23:41
     <* data-ago="…Z">                                                    22 min, in words
     <* data-due="…Z" data-window="600" data-after="paging…">             counts down in a .clock with its progress bar
   A countdown with data-over counts on after zero, as "overdue by". */
(() => {
  "use strict";
  const root = document.documentElement;
  const zone = root.dataset.tz || "UTC";
  let ahead = 0; // server minus browser, in ms

  const setServerTime = (iso) => { const at = Date.parse(iso); if (at) ahead = at - Date.now(); };
  if (root.dataset.now) {
    // Between the server's stamp and now lie the transfer and the parsing of this page.
    setServerTime(root.dataset.now);
    const entry = performance.getEntriesByType("navigation")[0];
    if (entry && entry.responseStart) ahead += Math.max(0, performance.now() - entry.responseStart);
  }
  const now = () => Date.now() + ahead;

  const two = (n) => String(n).padStart(2, "0");
  const clock = (total) => {
    const s = Math.abs(Math.trunc(total));
    if (s >= 86400) return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
    const h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60);
    return h ? `${h}:${two(m)}:${two(s % 60)}` : `${two(m)}:${two(s % 60)}`;
  };
  const words = (total) => {
    const s = Math.max(0, Math.trunc(total));
    if (s < 60) return `${s} s`;
    const m = Math.floor(s / 60);
    if (m < 10) return s % 60 ? `${m}m ${two(s % 60)}s` : `${m} min`;
    if (m < 60) return `${m} min`;
    const h = Math.floor(m / 60);
    if (h < 24) return m % 60 ? `${h}h ${two(m % 60)}m` : `${h} h`;
    return h % 24 ? `${Math.floor(h / 24)}d ${h % 24}h` : `${Math.floor(h / 24)} d`;
  };

  // --- times in the viewer's zone -------------------------------------------------------------------------------
  const part = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone, hourCycle: "h23", weekday: "short", year: "numeric", month: "short", day: "numeric",
    hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const parts = (at) => Object.fromEntries(part.formatToParts(at).map((p) => [p.type, p.value]));
  const dayNumber = (p) => Math.round(Date.parse(`${p.day} ${p.month} ${p.year} 00:00 UTC`) / 86400000);
  const say = (at, style) => {
    const p = parts(at), hm = `${p.hour}:${p.minute}`;
    const month = p.month.slice(0, 3); // "Sept" in some engines
    if (style === "hm") return hm;
    if (style === "date") return `${p.day} ${month} ${p.year}`;
    if (style === "full") return `${p.day} ${month} ${p.year}, ${hm}:${p.second}`;
    if (style === "day") {
      const today = parts(now()), ahead = dayNumber(p) - dayNumber(today), away = Math.abs(ahead);
      if (away === 0) return hm;
      if (away < 7) return `${p.weekday} ${hm}`;
      return p.year === today.year || (ahead > 0 && ahead < 183) ? `${p.day} ${month} ${hm}` : `${p.day} ${month} ${p.year}`;
    }
    return `${hm}:${p.second}`;
  };
  const localise = (within) => {
    const list = within.matches && within.matches("time[data-t]") ? [within] : within.querySelectorAll("time[data-t]");
    for (const el of list) {
      const at = Date.parse(el.dateTime);
      if (!at) continue;
      write(el, say(at, el.dataset.t));
    }
  };

  // --- counting -------------------------------------------------------------------------------------------------
  // The text node stays: a new one has the browser look through the style of much more than this element.
  const write = (el, text) => {
    const only = el.firstChild;
    if (only && only === el.lastChild && only.nodeType === Node.TEXT_NODE) { if (only.data !== text) only.data = text; }
    else if (el.textContent !== text) el.textContent = text;
  };
  const said = new Set();
  const announce = (text) => {
    const line = document.getElementById("say");
    if (line && !said.has(text)) { said.add(text); line.textContent = text; }
  };
  const countDown = (el) => {
    const due = Date.parse(el.dataset.due);
    if (!due) return;
    const left = Math.ceil((due - now()) / 1000);
    const box = el.closest(".clock, .answer-next, .tier");
    const bar = box && box.querySelector("progress");
    const span = Number(el.dataset.window) || 0;
    if (left > 0 || "over" in el.dataset) write(el, clock(left));
    else { write(el, el.dataset.after || "now"); el.classList.add("clock-word"); }
    if (bar) bar.value = Math.max(left, 0);
    if (box && box.dataset.state && box.dataset.state !== "held" && !("fixed" in box.dataset)) {
      // The last fifth of the window, at least three minutes; after zero only a promise is "over".
      const soon = left <= Math.max(180, span / 5);
      const state = left <= 0 && "over" in el.dataset ? "over" : soon ? "soon" : "calm";
      if (box.dataset.state !== state) box.dataset.state = state;
    }
    if ("announce" in el.dataset && left > 0) {
      if (left <= 60) announce(`${el.dataset.announce}: less than 1 minute`);
      else if (left <= 300) announce(`${el.dataset.announce}: less than 5 minutes`);
    }
  };
  const tick = () => {
    const t = now();
    for (const el of document.querySelectorAll("[data-since]")) write(el, clock((t - Date.parse(el.dataset.since)) / 1000));
    for (const el of document.querySelectorAll("[data-ago]")) write(el, words((t - Date.parse(el.dataset.ago)) / 1000));
    document.querySelectorAll("[data-due]").forEach(countDown);
  };

  const onNew = (changes) => {
    for (const change of changes) for (const node of change.addedNodes) {
      if (node.nodeType !== Node.ELEMENT_NODE) continue;
      const stamp = node.dataset && node.dataset.now;
      if (stamp) setServerTime(stamp);
      localise(node);
      for (const el of node.querySelectorAll("[data-due]")) countDown(el);
      if (node.dataset && node.dataset.due) countDown(node);
    }
  };

  localise(document.body);
  tick();
  new MutationObserver(onNew).observe(document.body, { childList: true, subtree: true });
  // Each second just after it turns, so that a late timer never skips a number.
  const loop = () => { tick(); setTimeout(loop, 1000 - (now() % 1000) + 5); };
  loop();
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });

  window.Muster = Object.assign(window.Muster || {}, { now, setServerTime, clock, words, say, write });
})();
