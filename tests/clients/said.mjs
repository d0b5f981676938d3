// What a driver says and hears, as in said.py: its arguments, lines of JSON, and a callback on loopback.
import { once } from "node:events";
import { createServer } from "node:http";

export const [url, tool] = process.argv.slice(2);
export const toolArguments = JSON.parse(process.argv[4]);

const say = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

export const sayOpen = (href) => say({ open: String(href) });
export const sayDone = (told) => say({ ...told, tools: [...told.tools].sort() });

// The client's own address, and a promise of the address that the browser was sent to.
export async function callback() {
  let settle;
  const answered = new Promise((resolve) => (settle = resolve));
  const server = createServer((request, response) => {
    response.end("done\n");
    if (request.url.startsWith("/callback")) settle(new URL(request.url, origin));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `${origin}/callback`, answered, close };
}
