// What a hostile page tries, from whichever origin it stands on. Each attempt answers with all that the page
// could learn: `text` is what it read, `refused` how the browser said no.
"use strict";

let opened = null; // the window that was opened last

function said(target, good, bad) {
  return new Promise((done) => {
    for (const name of good) target.addEventListener(name, () => done({ event: name }), { once: true });
    for (const name of bad) target.addEventListener(name, () => done({ refused: name }), { once: true });
  });
}

function peeked(look) {
  try {
    return { text: String(look()) };
  } catch (error) {
    return { refused: error.name };
  }
}

const hostile = {
  async fetch(url, init = {}) {
    try {
      const answer = await fetch(url, { credentials: "include", ...init });
      return { type: answer.type, text: await answer.text() };
    } catch (error) {
      return { refused: error.name };
    }
  },

  post(url, fields) {
    return hostile.fetch(url, { method: "POST", mode: "no-cors", body: new URLSearchParams(fields) });
  },

  async xhr(url) {
    const asked = new XMLHttpRequest();
    asked.open("GET", url);
    asked.withCredentials = true;
    const ended = said(asked, ["load"], ["error"]);
    asked.send();
    return { ...(await ended), text: asked.responseText };
  },

  // An answer taken for a script, a style, a picture or a document within the page.
  async include(name, attribute, url) {
    const before = new Set(Object.getOwnPropertyNames(window));
    const element = document.createElement(name);
    if (name === "link") element.rel = "stylesheet";
    const ended = said(element, ["load"], ["error"]);
    element[attribute] = url;
    document.body.append(element);
    const outcome = await ended;
    const made = Object.getOwnPropertyNames(window).filter((one) => !before.has(one));
    const rules = name === "link" ? peeked(() => element.sheet.cssRules.length) : {};
    return { ...outcome, made, rules };
  },

  async frame(url) {
    const element = document.createElement("iframe");
    const loaded = said(element, ["load"], []);
    element.src = url;
    document.body.append(element);
    await loaded;
    return {
      document: peeked(() => element.contentWindow.document.body.innerText),
      address: peeked(() => element.contentWindow.location.href),
    };
  },

  socket(url) {
    return said(new WebSocket(url), ["open"], ["error"]);
  },

  events(url) {
    return said(new EventSource(url, { withCredentials: true }), ["open", "state"], ["error"]);
  },

  beacon(url, fields) {
    return navigator.sendBeacon(url, new URLSearchParams(fields));
  },

  // A form that sends itself, as a person's click would; into a window of its own unless told otherwise.
  submit(url, fields, target = "_blank") {
    const form = document.createElement("form");
    form.method = "post";
    form.action = url;
    form.target = target;
    for (const [name, value] of Object.entries(fields)) {
      const field = document.createElement("input");
      field.name = name;
      field.value = value;
      form.append(field);
    }
    document.body.append(form);
    form.submit();
  },

  open(url) {
    opened = window.open(url);
    return opened !== null;
  },

  // What can be learnt of the opened window, and said to it.
  peek() {
    opened.postMessage({ restart: true, csrf: "guess" }, "*");
    return {
      closed: opened.closed,
      document: peeked(() => opened.document.body.innerText),
      address: peeked(() => opened.location.href),
      cookies: peeked(() => opened.document.cookie),
      stored: peeked(() => opened.localStorage.length),
    };
  },

  cookie(text) {
    return peeked(() => {
      if (text) document.cookie = text;
      return document.cookie;
    });
  },

  stores() {
    return {
      local: peeked(() => localStorage.setItem("mcpgw", "planted")),
      session: peeked(() => sessionStorage.setItem("mcpgw", "planted")),
      indexed: peeked(() => indexedDB.open("mcpgw").readyState),
    };
  },

  async worker(url, scope) {
    try {
      return { text: (await navigator.serviceWorker.register(url, { scope })).scope };
    } catch (error) {
      return { refused: error.name };
    }
  },
};
