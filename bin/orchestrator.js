#!/usr/bin/env node
// Read by whatever Node is installed, so nothing here may need more than Node 14: no top-level await, no new syntax.
import module from "node:module";

// To import these would make all that they hold, which takes 5 ms for node:fs alone.
const require = module.createRequire(import.meta.url);
const { existsSync, readFileSync } = require("node:fs");
const { homedir } = require("node:os");
const { dirname, join } = require("node:path");
const { fileURLToPath } = require("node:url");
const neededMajor = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cli = join(root, "dist", "cli.js");
const args = process.argv.slice(2);

if (args.length === 1 && (args[0] === "--version" || args[0] === "-V")) {
  process.stdout.write(`${JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version}\n`);
} else if (!existsSync(cli)) {
  fail(`${cli} is missing.`, "in a checkout, `npm run setup && npm run build` makes it; otherwise install the package again");
} else if (major(process.versions.node) >= neededMajor) {
  // The default, a folder below /tmp, is one that other users of the machine might have made first.
  module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "orchestrator", "compile-cache"));
  import("../dist/cli.js");
} else {
  import("node:child_process").then(runWithNewerNode);
}

function major(version) {
  return Number.parseInt(version, 10);
}

function fail(message, hint) {
  process.stderr.write(`error: ${message}\nhint:  ${hint}\n`);
  process.exitCode = 1;
}

function runWithNewerNode({ spawn, spawnSync }) {
  const node = nodeFromPackages() || nodeFromRegistry(spawnSync);
  if (node === undefined) return;
  const child = spawn(node, [join(root, "bin", "orchestrator.js"), ...args], { stdio: "inherit" });
  // A terminal sends these two to the child as well; a second one would count as the user's second Ctrl-C.
  const sharedTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  for (const signal of ["SIGINT", "SIGQUIT"]) process.on(signal, () => sharedTerminal || child.kill(signal));
  for (const signal of ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`cannot start ${node}: ${error.message}`, installHint()));
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exitCode = code;
    } else {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
  });
}

/** The `node` package of a node_modules folder above this file: there in a checkout, and beside us when a project installed both. */
function nodeFromPackages() {
  for (let dir = root; ; dir = dirname(dir)) {
    const found = join(dir, "node_modules", "node");
    const binary = join(found, "bin", "node");
    if (existsSync(binary) && existsSync(join(found, "package.json"))) {
      if (major(JSON.parse(readFileSync(join(found, "package.json"), "utf8")).version) >= neededMajor) return binary;
    }
    if (dir === dirname(dir)) return undefined;
  }
}

/** Node 24 as npm packages it, kept in npm's own cache. Undefined after saying why it could not be had. */
function nodeFromRegistry(spawnSync) {
  process.stderr.write(
    `orchestrator needs Node ${neededMajor}, this is ${process.version}: fetching Node ${neededMajor} through npx (install it to avoid this).\n`,
  );
  const fetched = spawnSync(
    "npx",
    // Asked for its path rather than run through npx, so that signals and the terminal reach the program itself.
    ["-y", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "-p", `node@${neededMajor}`, "node", "-p", "process.execPath"],
    // Not in the caller's folder: the .npmrc and node_modules of a repository have no say in what we run.
    { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  const binary = (fetched.stdout || "").trim().split("\n").pop();
  if (fetched.status === 0 && binary && existsSync(binary)) return binary;
  const why = fetched.error ? fetched.error.message : (fetched.stderr || "").trim().split("\n").slice(0, 5).join("\n");
  fail(
    `orchestrator needs Node ${neededMajor}, this is ${process.version}, and fetching Node ${neededMajor} failed:\n${why}`,
    installHint(),
  );
  return undefined;
}

function installHint() {
  return `install Node ${neededMajor} or newer from https://nodejs.org or with your version manager (\`nvm install ${neededMajor}\`), then try again`;
}
