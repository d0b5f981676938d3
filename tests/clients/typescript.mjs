// Drives the TypeScript SDK.
import { readFileSync } from "node:fs";

import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

import { callback, sayDone, sayOpen, tool, toolArguments, url } from "./said.mjs";

const heard = await callback();
const kept = {};
const state = crypto.randomUUID();

const authProvider = {
  redirectUrl: heard.url,
  clientMetadata: {
    client_name: "TypeScript SDK of the tests",
    redirect_uris: [heard.url],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  state: () => state,
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  redirectToAuthorization: sayOpen,
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  codeVerifier: () => kept.verifier,
};

const made = () => [
  new Client({ name: "tests", version: "1" }),
  new StreamableHTTPClientTransport(new URL(url), { authProvider }),
];

async function connected() {
  const [first, transport] = made();
  try {
    await first.connect(transport);
    throw new Error("let in without signing in");
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
  }
  const { searchParams } = await heard.answered;
  if (searchParams.get("state") !== state) throw new Error("another's state came back");
  if (!searchParams.has("code")) throw new Error(`refused: ${searchParams}`);
  await transport.finishAuth(searchParams.get("code"));
  const [client, again] = made();
  await client.connect(again);
  return client;
}

const packageOf = new URL("../../../package.json", import.meta.resolve("@modelcontextprotocol/sdk/client/index.js"));
const { name, version } = JSON.parse(readFileSync(packageOf, "utf8"));
const client = await connected();
const { tools } = await client.listTools();
const answer = await client.callTool({ name: tool, arguments: toolArguments });
if (answer.isError) throw new Error(JSON.stringify(answer.content));
sayDone({ client: `${name} ${version}`, tools: tools.map((one) => one.name), answer: answer.structuredContent });
await client.close();
heard.close();
