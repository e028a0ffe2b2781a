// Before the first paint: what ui.js will fold is folded at once, so that nothing moves when it comes.
// A script that fails or cannot be loaded takes it back: a filter must not stay hidden behind a button that does nothing.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  addEventListener("error", () => root.classList.remove("scripted"), true);
})();
