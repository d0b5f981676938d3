// The wire shapes of GitHub or Google on loopback: the npm package emulate. No judge of security: it takes codes
// without the redirect URI they were made for, and knows no PKCE where GitHub does.
//
// Its argument is a JSON object: `service`, `apps` (what the service calls its clients), and `seed` as in emulate's
// configuration. It prints {"issuer": …} once it answers. A line {"redirectUris": […]} on its standard input
// registers the client for these, and starts anew; it is answered with the same. It ends when its input does.
import { createServer } from "node:net";
import { createInterface } from "node:readline";

import { createEmulator } from "emulate";

const HOST = "127.0.0.1";

const { service, apps, seed } = JSON.parse(process.argv[2]);

// The address it tells is fixed before it listens, so the port has to be known.
async function freePort() {
  const taken = createServer().listen(0, HOST);
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address();
  await new Promise((resolve) => taken.close(resolve));
  return port;
}

const say = console.log;
console.log = console.error; // its own words are not ours

const port = await freePort();
const issuer = `http://${HOST}:${port}`;

function started(redirectUris) {
  const clients = seed[apps].map((client) => ({ ...client, redirect_uris: redirectUris }));
  return createEmulator({ service, port, hostname: HOST, baseUrl: issuer, seed: { [service]: { ...seed, [apps]: clients } } });
}

let emulator = await started(seed[apps][0].redirect_uris);
say(JSON.stringify({ issuer }));
for await (const line of createInterface({ input: process.stdin })) {
  const { redirectUris } = JSON.parse(line);
  await emulator.close();
  emulator = await started(redirectUris);
  say(JSON.stringify({ redirectUris }));
}
process.exit(0);
