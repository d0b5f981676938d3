// Preloaded into the conformance suite, which has no option for a token: adds the headers of ADDED_HEADERS
// (a JSON object) to each request that goes to the port ADDED_HEADERS_PORT.
// Source: undici's diagnostics channels, which Node's own fetch has too, and those of Node's http module.
import { subscribe } from "node:diagnostics_channel";

const headers = Object.entries(JSON.parse(process.env.ADDED_HEADERS));
const port = process.env.ADDED_HEADERS_PORT;

subscribe("undici:request:create", ({ request }) => {
  if (new URL(request.origin).port !== port) return;
  for (const [name, value] of headers) request.addHeader(name, value);
});

subscribe("http.client.request.created", ({ request }) => {
  if (request.getHeader("host")?.split(":").at(-1) !== port) return;
  for (const [name, value] of headers) request.setHeader(name, value);
});
