/* Writing to the room: drafts are kept, commands open their dialogs, and the own note is there at once. After room.js. */
(() => {
  "use strict";
  const $ = (s, within = document) => within.querySelector(s);
  const $$ = (s, within = document) => [...within.querySelectorAll(s)];
  const { store, place, toNewest } = window.Muster;
  const say = $("#say-text"), form = $("#composer"), menu = $("#slash");
  if (!say || say.disabled) return;
  const draft = `muster.draft.${document.body.dataset.incident}`;
  const grow = () => { say.style.height = ""; if (!CSS.supports("field-sizing", "content")) say.rows = Math.min(8, say.value.split("\n").length); };
  if (!say.value && store.get(draft)) say.value = store.get(draft);
  grow();
  say.addEventListener("input", () => { store.set(draft, say.value); grow(); filter(); window.Muster.refuse(form, ""); });

  const options = () => $$("[role=option]", menu).filter((o) => !o.hidden);
  const choose = (o) => {
    $$("[role=option]", menu).forEach((x) => x.setAttribute("aria-selected", String(x === o)));
    if (o) say.setAttribute("aria-activedescendant", o.id); else say.removeAttribute("aria-activedescendant");
  };
  const filter = () => {
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
    const answer = new DOMParser().parseFromString(e.detail.xhr.responseText, "text/html");
    $$("li[data-seq]", answer.body).forEach(place);
    toNewest();
  });
})();
