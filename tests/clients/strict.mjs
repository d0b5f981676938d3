// Drives openid-client, a certified and strict OAuth client, at the authorization server that the MCP server
// names: discovery, dynamic registration, PKCE, the code, MCP with the token, refresh, revocation.
import { readFileSync } from "node:fs";

import * as oauth from "openid-client";

import { callback, sayDone, sayOpen, tool, toolArguments, url } from "./said.mjs";

const PROTOCOL = "2025-11-25";
const insecure = { algorithm: "oauth2", execute: [oauth.allowInsecureRequests] }; // plain http is loopback's alone

async function resourceMetadata() {
  const refused = await fetch(url, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  const challenge = refused.headers.get("www-authenticate") ?? "";
  const [, where] = /resource_metadata="([^"]+)"/.exec(challenge) ?? [];
  if (refused.status !== 401 || !where) throw new Error(`no challenge: ${refused.status} ${challenge}`);
  return (await fetch(where)).json();
}

async function registered(issuer, redirectUrl) {
  const metadata = {
    client_name: "openid-client of the tests",
    redirect_uris: [redirectUrl],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  return oauth.dynamicClientRegistration(issuer, metadata, oauth.None(), insecure);
}

async function signedIn(config, heard, resource, scope) {
  const pkceCodeVerifier = oauth.randomPKCECodeVerifier();
  const expectedState = oauth.randomState();
  const code_challenge = await oauth.calculatePKCECodeChallenge(pkceCodeVerifier);
  const asked = { redirect_uri: heard.url, scope, resource, state: expectedState };
  sayOpen(oauth.buildAuthorizationUrl(config, { ...asked, code_challenge, code_challenge_method: "S256" }));
  const checks = { pkceCodeVerifier, expectedState };
  return oauth.authorizationCodeGrant(config, await heard.answered, checks, { resource });
}

// One call of MCP, by hand: the answer is JSON, or the last event of a stream.
function mcp(config, token, session) {
  let id = 0;
  return async (method, params = {}) => {
    const isTold = method.startsWith("notifications/");
    const body = JSON.stringify({ jsonrpc: "2.0", method, params, ...(isTold ? {} : { id: ++id }) });
    const headers = new Headers({
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": PROTOCOL,
      ...(session.id ? { "mcp-session-id": session.id } : {}),
    });
    const answer = await oauth.fetchProtectedResource(config, token, new URL(url), "POST", body, headers);
    session.id ??= answer.headers.get("mcp-session-id");
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method}: ${answer.status} ${text}`);
    if (isTold) return undefined;
    const isStream = answer.headers.get("content-type").startsWith("text/event-stream");
    const told = isStream ? text.split(/\r?\n/).findLast((line) => /^data: *\{/.test(line)).slice(5) : text;
    const { result, error } = JSON.parse(told);
    if (error) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  };
}

async function usedWith(config, token) {
  const call = mcp(config, token, {});
  const clientInfo = { name: "tests", version: "1" };
  await call("initialize", { protocolVersion: PROTOCOL, capabilities: {}, clientInfo });
  await call("notifications/initialized");
  const { tools } = await call("tools/list");
  const answer = await call("tools/call", { name: tool, arguments: toolArguments });
  return { tools: tools.map((one) => one.name), answer: answer.structuredContent };
}

// Which error a thing that must not work ends with.
async function refusal(attempt) {
  try {
    await attempt;
    return "nothing was refused";
  } catch (error) {
    return error.error ?? String(error.status ?? error.cause?.at?.(0)?.parameters?.error ?? error.message);
  }
}

const heard = await callback();
const { resource, authorization_servers, scopes_supported } = await resourceMetadata();
const config = await registered(new URL(authorization_servers[0]), heard.url);
const first = await signedIn(config, heard, resource, (scopes_supported ?? []).join(" "));
const used = await usedWith(config, first.access_token);
const second = await oauth.refreshTokenGrant(config, first.refresh_token, { resource });
const again = await usedWith(config, second.access_token);
await oauth.tokenRevocation(config, second.refresh_token);

const packageOf = new URL("../package.json", import.meta.resolve("openid-client"));
const { name, version } = JSON.parse(readFileSync(packageOf, "utf8"));
sayDone({
  client: `${name} ${version}`,
  ...used,
  issuer: config.serverMetadata().issuer,
  rotated: second.refresh_token !== first.refresh_token,
  refreshed: JSON.stringify(again) === JSON.stringify(used),
  afterRevocation: {
    refresh: await refusal(oauth.refreshTokenGrant(config, second.refresh_token, { resource })),
    access: await refusal(usedWith(config, second.access_token)),
  },
});
heard.close();
