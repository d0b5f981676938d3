// Keeps the account page current, opens the waiting page's container, follows a log, and copies addresses.
// Everything works without it, by reloading.
"use strict";

const RELOAD_AFTER_MS = 5000;
const RECONNECT_AFTER_MS = 15000; // a refusal ends an EventSource for good
const STALE_AFTER_MS = 8000; // a stream that ends begins anew within a few seconds

function showCopyButtons(within) {
  if (!navigator.clipboard) return;
  for (const button of within.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
  button.textContent = "Copied";
});

// Redrawing keeps the elements that stay, and with them the focus, what is selected, typed and scrolled to.
// An element with an id is the one that had it before; one without is the next of its kind.

function redraw(shown, wanted) {
  const coming = new Set([...wanted.children].map((node) => node.id));
  let at = shown.firstChild;
  for (const next of [...wanted.childNodes]) {
    const kept = counterpart(at, next, coming);
    if (!kept) {
      shown.insertBefore(next, at);
      continue;
    }
    while (at !== kept) at = removed(at);
    at = kept.nextSibling;
    if (kept.nodeType === Node.ELEMENT_NODE) {
      redress(kept, next);
      redraw(kept, next);
    } else if (kept.data !== next.data) {
      kept.data = next.data;
    }
  }
  while (at) at = removed(at);
}

function counterpart(at, next, coming) {
  for (let node = at; node; node = node.nextSibling) {
    if (node.nodeName === next.nodeName && (node.id || "") === (next.id || "")) return node;
    if (!next.id && node.id && coming.has(node.id)) return null;
  }
  return null;
}

function removed(node) {
  const after = node.nextSibling;
  node.remove();
  return after;
}

function redress(shown, wanted) {
  for (const { name } of [...shown.attributes]) if (!wanted.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of wanted.attributes) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
}

function followAccount(containers) {
  const stale = document.getElementById("stale");
  const drawnOpen = new Map([...containers.querySelectorAll("details")].map((node) => [node.id, node.open]));
  let late = 0;

  // What a person opened or closed stays so until the server opens or closes it anew.
  function keepOpen(wanted) {
    for (const details of wanted.querySelectorAll("details")) {
      const isDrawnOpen = details.open;
      const shown = document.getElementById(details.id);
      if (shown && drawnOpen.get(details.id) === isDrawnOpen) details.open = shown.open;
      drawnOpen.set(details.id, isDrawnOpen);
    }
  }

  function show(html) {
    const wanted = document.createElement("template");
    wanted.innerHTML = html; // drawn and escaped by the server, from the same template as the page itself
    showCopyButtons(wanted.content);
    keepOpen(wanted.content);
    const focused = document.activeElement;
    const card = containers.contains(focused) && focused.closest("article");
    redraw(containers, wanted.content);
    if (!card || focused.isConnected) return;
    const again = containers.querySelector(`#${CSS.escape(card.id)} h1`) || containers.querySelector("h1");
    if (again) again.focus(); // the button is gone: the keyboard goes on where it was
  }

  function isFresh() {
    clearTimeout(late);
    late = 0;
    stale.hidden = true;
  }

  function connect() {
    const events = new EventSource(containers.dataset.follow);
    events.addEventListener("open", isFresh);
    events.addEventListener("state", (event) => show(JSON.parse(event.data).html));
    events.addEventListener("error", () => {
      late = late || setTimeout(() => (stale.hidden = false), STALE_AFTER_MS);
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_AFTER_MS);
    });
  }

  connect();
}

function showPhase(state) {
  const phase = document.getElementById("phase");
  phase.textContent = state.phase;
  phase.className = `phase ${state.tone}`;
  document.getElementById("sentence").textContent = state.sentence;
}

function followLog(card) {
  const log = document.getElementById("log");
  const note = document.getElementById("note");
  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  const toEnd = () => (log.scrollTop = log.scrollHeight);
  const events = new EventSource(card.dataset.log);
  toEnd();
  events.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    const wasAtEnd = isAtEnd();
    const shown = log.firstChild;
    showPhase(state);
    note.textContent = state.note;
    if (shown && state.text.startsWith(shown.data)) shown.appendData(state.text.slice(shown.data.length));
    else log.textContent = state.text; // what is selected is lost only where the beginning is cut off
    if (wasAtEnd) toEnd();
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), RELOAD_AFTER_MS);
  });
}

function followWaiting(waiting) {
  const events = new EventSource(waiting.dataset.wait);
  events.addEventListener("state", (event) => {
    const state = JSON.parse(event.data);
    if (state.ready) {
      events.close();
      location.reload();
      return;
    }
    showPhase(state);
    const progress = document.getElementById("progress");
    if (state.done === null) progress.removeAttribute("value");
    else progress.value = state.done;
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), RELOAD_AFTER_MS);
  });
}

const containers = document.querySelector("[data-follow]");
const waiting = document.querySelector("[data-wait]");
const logCard = document.querySelector("[data-log]");
showCopyButtons(document);
if (containers) followAccount(containers);
if (waiting) followWaiting(waiting);
if (logCard) followLog(logCard);
