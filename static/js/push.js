/* "Use this browser" on the page about being reached. A browser counts only after a push has arrived: the worker sends
   back what was in it (sw.js), and this page is told. */
(() => {
  "use strict";
  const form = document.getElementById("push-form");
  if (!form) return;
  const button = form.querySelector("button"), line = document.getElementById("push-says");
  const PATIENCE = 45000;
  const say = (text, tone = "") => {
    line.querySelector("span").textContent = text;
    line.className = `t-dense mt-2${tone ? ` ${tone}` : ""}`;
    line.hidden = false;
  };
  const off = (text) => { say(text); button.hidden = true; form.querySelector("[data-push-label]").hidden = true; };

  const apple = /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.userAgent.includes("Mac") && navigator.maxTouchPoints > 1);
  const installed = navigator.standalone || matchMedia("(display-mode: standalone)").matches;
  if (!("serviceWorker" in navigator) || !("PushManager" in window) || !("Notification" in window)) {
    off(apple && !installed
      ? "Not from this tab: add Muster to the Home Screen first, then open it from there and come back to this page."
      : window.isSecureContext ? "This browser takes no push messages." : "Push messages need https:// in the address.");
    return;
  }

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "=")), (c) => c.charCodeAt(0));
  const same = (a, b) => a && a.byteLength === b.length && new Uint8Array(a).every((value, at) => value === b[at]);
  const key = bytes(form.dataset.key);
  const mark = async (endpoint) => {
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(endpoint));
    return [...new Uint8Array(digest).slice(0, 3)].map((value) => value.toString(16).padStart(2, "0")).join("");
  };

  // Which of the methods on this page is this browser?
  const recognise = async () => {
    const worker = await navigator.serviceWorker.getRegistration("/");
    const has = worker && await worker.pushManager.getSubscription();
    if (!has) return;
    const own = document.querySelector(`[data-push-mark="${await mark(has.endpoint)}"]`);
    if (!own) return;
    own.querySelector("[data-push-here]").hidden = false;
    if (!same(has.options.applicationServerKey, key)) say("The server's key has changed. Press once more.", "t-bad");
    else if ("verified" in own.dataset) off("This browser is in use.");
  };
  recognise().catch(() => {});

  navigator.serviceWorker.addEventListener("message", (event) => {
    if (event.data && event.data.muster === "push-verified") location.replace(`${location.pathname}?kind=email`);
    if (event.data && event.data.muster === "push-code") say("The push has arrived, but could not be confirmed by itself. Type its code in beside the browser; reload the page to see it.");
  });

  const subscribe = async () => {
    // Before anything else: browsers allow the question only right after the press.
    if (await Notification.requestPermission() !== "granted") {
      throw new Error("Notifications are blocked for Muster in this browser. Allow them in its settings for this site, then press again.");
    }
    await navigator.serviceWorker.register(form.dataset.worker, { scope: "/" });
    const worker = await navigator.serviceWorker.ready;
    let found = await worker.pushManager.getSubscription();
    if (found && !same(found.options.applicationServerKey, key)) { await found.unsubscribe(); found = null; }
    try {
      return found || await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    } catch (error) {
      throw new Error(`The browser did not subscribe: ${error.message}`);
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    try {
      const { endpoint, keys } = (await subscribe()).toJSON();
      const sent = new FormData(form);
      for (const [name, value] of Object.entries({ endpoint, ...keys })) sent.set(name, value);
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(sent) });
      if (answer.redirected) { location.reload(); return; }
      const said = await answer.json();
      if (!answer.ok) throw new Error(said.error.message);
      if (said.verified) { location.reload(); return; }
      say("A push is on its way here. It verifies this browser by itself.");
      setTimeout(() => say("No push has arrived yet. See beside the browser how it goes, or press again.", "t-bad"), PATIENCE);
    } catch (error) {
      say(error instanceof TypeError ? "Muster cannot be reached. Press again." : error.message, "t-bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
})();
