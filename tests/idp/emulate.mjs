// The wire shapes of GitHub or Google on loopback: the npm package emulate. No judge of security: it takes codes
// without the redirect URI they were made for, and knows no PKCE where GitHub does.
//
// Its argument is a JSON object: `service`, and `seed` as in emulate's configuration. It prints {"issuer": …} once
// it answers, and ends when its standard input does.
import { createServer } from "node:net";

import { createEmulator } from "emulate";

const HOST = "127.0.0.1";

const { service, seed } = JSON.parse(process.argv[2]);

// The address it tells is fixed before it listens, so the port has to be known.
async function freePort() {
  const taken = createServer().listen(0, HOST);
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address();
  await new Promise((resolve) => taken.close(resolve));
  return port;
}

const log = console.log;
console.log = console.error; // its own words are not ours
const port = await freePort();
const issuer = `http://${HOST}:${port}`;
await createEmulator({ service, port, hostname: HOST, baseUrl: issuer, seed: { [service]: seed } });
log(JSON.stringify({ issuer }));
process.stdin.resume().on("end", () => process.exit(0));
