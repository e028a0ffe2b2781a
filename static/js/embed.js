/* The banner on pages of others reads itself again, and says when it could not. */
(() => {
  "use strict";
  const EVERY = 15000;
  const read = async () => {
    if (document.hidden) return;
    let page = null;
    try {
      const answer = await fetch(location.href, { cache: "no-store", credentials: "omit" });
      if (answer.ok) page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch { /* said below */ }
    const old = document.getElementById("embed"), fresh = page && page.getElementById("embed");
    if (fresh) {
      if (window.Muster) Muster.setServerTime(page.documentElement.dataset.now);
      document.title = page.title;
      old.replaceWith(document.adoptNode(fresh));
      return;
    }
    const line = document.getElementById("as-of");
    if (!line.classList.contains("is-old")) {
      line.classList.add("is-old");
      line.prepend("Not live. ");
    }
  };
  setInterval(read, EVERY);
  document.addEventListener("visibilitychange", read);
})();
