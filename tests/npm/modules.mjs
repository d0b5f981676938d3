// Preloaded into the scripts of tests/idp and tests/clients: packages are taken from the folder NPM_MODULES
// in the cache, since no node_modules stands beside a script.
// Source: Node's module customization hooks, `module.registerHooks`.
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";

const among = pathToFileURL(`${process.env.NPM_MODULES}/`).href;

registerHooks({
  resolve(name, context, next) {
    const isOurs = context.parentURL !== undefined && !context.parentURL.includes("/node_modules/");
    const isPackage = isOurs && !/^(?:[./]|node:|file:|data:)/.test(name);
    return next(name, isPackage ? { ...context, parentURL: among } : context);
  },
});
