// A certified OpenID provider on loopback: the npm package oidc-provider, one confidential client, PKCE.
//
// Its argument is a JSON object: `client` as in client metadata, `accounts` by login name, `emailIn` ("userinfo",
// as OpenID Connect says for codes, or "id_token", as many products do). It prints {"issuer": …} once it answers.
// A line {"redirectUris": […]} on its standard input registers the client for these; it is answered with the same.
// It ends when its standard input does, so that it never outlives who started it.
import { createServer } from "node:http";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

import Provider from "oidc-provider";

const HOST = "127.0.0.1";
const FORM_BYTES_MAX = 8192;

const { client, accounts, emailIn } = JSON.parse(process.argv[2]);

function signingKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: randomBytes(8).toString("hex") };
}

const known = new Map();

// Whoever is not listed has a verified address: as many people as a test likes may come.
function subjectOf(login) {
  const claims = accounts[login] ?? {
    sub: `sub-of-${login}`,
    name: login,
    email: `${login}@example.com`,
    email_verified: true,
  };
  known.set(claims.sub, claims);
  return claims.sub;
}

// Allowing the one client is part of signing in: the page of a real provider's consent is not under test.
async function loadExistingGrant(ctx) {
  const { provider, client: asking, session } = ctx.oidc;
  const grant = new provider.Grant({ clientId: asking.clientId, accountId: session.accountId });
  grant.addOIDCScope("openid email profile");
  await grant.save();
  return grant;
}

const jwks = { keys: [signingKey()] };
const cookies = { keys: [randomBytes(16).toString("hex")] };

function made(issuer, redirectUris) {
  return new Provider(issuer, {
    clients: [{ ...client, redirect_uris: redirectUris }],
    jwks,
    cookies,
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: emailIn !== "id_token",
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: (_, sub) => (known.has(sub) ? { accountId: sub, claims: () => known.get(sub) } : undefined),
    loadExistingGrant,
    ttl: { AccessToken: 3600, AuthorizationCode: 60, Grant: 3600, IdToken: 3600, Interaction: 600, Session: 3600 },
  });
}

const PAGE = `<!doctype html><title>Sign in</title><h1>Sign in at the test's provider</h1>
<form method="post"><label>Login name <input name="login" autocomplete="username" required autofocus></label>
<button name="answer" value="sign-in">Sign in</button> <button name="answer" value="refuse" formnovalidate>Refuse</button>
</form>`;

async function formOf(request) {
  let text = "";
  for await (const piece of request) {
    text += piece;
    if (text.length > FORM_BYTES_MAX) throw new Error("the form is too large");
  }
  return new URLSearchParams(text);
}

async function signIn(provider, request, response) {
  await provider.interactionDetails(request, response);
  if (request.method !== "POST") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(PAGE);
    return;
  }
  const form = await formOf(request);
  const result =
    form.get("answer") === "refuse"
      ? { error: "access_denied", error_description: "The person refused" }
      : { login: { accountId: subjectOf(form.get("login")) } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

const say = (told) => console.log(JSON.stringify(told));

const server = createServer();
server.listen(0, HOST, () => {
  const issuer = `http://${HOST}:${server.address().port}`;
  let provider = made(issuer, client.redirect_uris);
  server.on("request", (request, response) => {
    if (!request.url.startsWith("/sign-in/")) return provider.callback()(request, response);
    return signIn(provider, request, response).catch((error) => {
      response.writeHead(400, { "content-type": "text/plain" }).end(String(error));
    });
  });
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      const { redirectUris } = JSON.parse(line);
      provider = made(issuer, redirectUris);
      say({ redirectUris });
    })
    .on("close", () => process.exit(0));
  say({ issuer });
});
