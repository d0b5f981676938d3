// Shows that both ways of calling back work from wherever this page is served.
"use strict";

const show = (id, text) => {
  document.getElementById(id).textContent = text;
};

const address = new URL("ws", document.baseURI);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(address);
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => show("websocket", `echoed: ${event.data}`);
socket.onerror = () => show("websocket", "failed");

fetch("headers")
  .then((answer) => answer.json())
  .then((seen) => show("relative", `answered by ${seen.hostname}`))
  .catch(() => show("relative", "failed"));
