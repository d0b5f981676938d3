// Keeps the account page current, opens the waiting page's container, and copies addresses.
// Everything works without it, by reloading.
"use strict";

const RELOAD_AFTER_MS = 5000;

function showCopyButtons(within) {
  if (!navigator.clipboard) return;
  for (const button of within.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
      button.textContent = "Copied";
    });
  }
}

function followAccount(containers) {
  const events = new EventSource(containers.dataset.follow);
  events.addEventListener("state", (event) => {
    const focused = document.activeElement && document.activeElement.id;
    const open = new Set([...containers.querySelectorAll("details[open] > summary")].map((node) => node.id));
    // Drawn and escaped by the server, from the same template as the page itself.
    containers.innerHTML = JSON.parse(event.data).html;
    for (const summary of containers.querySelectorAll("details > summary")) {
      if (open.has(summary.id)) summary.parentElement.open = true;
    }
    showCopyButtons(containers);
    const again = focused && document.getElementById(focused);
    if (again) again.focus();
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
    const phase = document.getElementById("phase");
    phase.textContent = state.phase;
    phase.className = `phase ${state.tone}`;
    document.getElementById("sentence").textContent = state.sentence;
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), RELOAD_AFTER_MS);
  });
}

const containers = document.querySelector("[data-follow]");
const waiting = document.querySelector("[data-wait]");
showCopyButtons(document);
if (containers) followAccount(containers);
if (waiting) followWaiting(waiting);
