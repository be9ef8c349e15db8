import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import type { Cli } from "./script.ts";
import { clientProcessHeader, type ModelServer } from "./server.ts";

const packages: Record<Cli, string> = {
  claude: "@anthropic-ai/claude-code",
  codex: "@openai/codex",
  pi: "@mariozechner/pi-coding-agent",
};

/** How claude is logged in: with an API key, or as a subscriber, who alone hears of usage limits. */
export type ClaudeLogin = "api-key" | "subscription";

/**
 * The whole environment for a CLI that talks to `server` and to nothing else, with a HOME of its own under `dir`. The CLI is first in
 * PATH under its own name, as a global installation would put it there, and needs no flag to find the server. It gives up on its first
 * failed request; CLAUDE_CODE_MAX_RETRIES and the files in HOME say otherwise. Environments of several CLIs made with the same
 * `server` and `dir` may be merged into one.
 */
export function agentEnvironment(
  cli: Cli,
  server: Pick<ModelServer, "url">,
  dir: string,
  options: { claudeLogin?: ClaudeLogin } = {},
): Record<string, string> {
  const home = join(dir, "home");
  const bin = join(dir, "bin");
  // codex refuses its sandbox when CODEX_HOME lies under the temporary folder, which the system's one would make true here.
  const tmp = join(dir, "tmp");
  for (const folder of [home, bin, tmp]) mkdirSync(folder, { recursive: true });
  link(process.execPath, join(bin, "node"));
  link(executableOf(cli), join(bin, cli));
  writeFileSync(
    join(home, ".gitconfig"),
    "[user]\n\tname = Scripted Agent\n\temail = agent@example.invalid\n[init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n",
  );
  return {
    HOME: home,
    PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`,
    TMPDIR: tmp,
    LANG: "C.UTF-8",
    TZ: "UTC",
    GIT_CONFIG_NOSYSTEM: "1",
    ...settings[cli](server.url, home, options.claudeLogin ?? "api-key"),
  };
}

const settings: Record<Cli, (url: string, home: string, claudeLogin: ClaudeLogin) => Record<string, string>> = {
  claude: (url, _home, claudeLogin) => ({
    ANTHROPIC_BASE_URL: url,
    ...(claudeLogin === "api-key" ? { ANTHROPIC_API_KEY: "dummy" } : { CLAUDE_CODE_OAUTH_TOKEN: "dummy-oauth-token" }),
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
    CLAUDE_CODE_MAX_RETRIES: "0",
    DISABLE_AUTOUPDATER: "1",
    // Without it claude refuses to skip permissions for root.
    IS_SANDBOX: "1",
  }),
  codex: (url, home) => {
    const codexHome = join(home, ".codex");
    mkdirSync(codexHome, { recursive: true });
    writeFileSync(join(codexHome, "config.toml"), codexConfig(url));
    return { CODEX_HOME: codexHome, SCRIPTED_API_KEY: "dummy" };
  },
  pi: (url, home) => {
    writePiFolder(join(home, ".pi", "agent"), url);
    return { PI_OFFLINE: "1", PI_TELEMETRY: "0" };
  },
};

function codexConfig(url: string): string {
  return `model = "scripted-model"
model_provider = "scripted"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false
apps = false

[model_providers.scripted]
name = "scripted"
base_url = "${url}/v1"
wire_api = "responses"
env_key = "SCRIPTED_API_KEY"
request_max_retries = 0
stream_max_retries = 0
`;
}

/** Makes the folder in which PI has its models and settings: it asks `url`, and nobody else. */
export function writePiFolder(dir: string, url: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, "models.json"), JSON.stringify(piModels(url), null, 2));
  writeFileSync(join(dir, "settings.json"), JSON.stringify(piSettings, null, 2));
}

const piSettings = {
  defaultProvider: "scripted",
  defaultModel: "scripted-model",
  enableInstallTelemetry: false,
  retry: { enabled: false, provider: { maxRetries: 0 } },
};

function piModels(url: string): unknown {
  return {
    providers: {
      scripted: {
        baseUrl: url,
        api: "anthropic-messages",
        apiKey: "dummy",
        // The parent of the shell that resolves a header is pi. In pid namespaces its number repeats: its start time tells it apart.
        headers: { [clientProcessHeader]: '!echo "$PPID-$(cut -d" " -f22 /proc/$PPID/stat)"' },
        models: [
          {
            id: "scripted-model",
            contextWindow: 200_000,
            maxTokens: 8_000,
            cost: { input: 5, output: 25, cacheRead: 0.5, cacheWrite: 6.25 },
          },
        ],
      },
    },
  };
}

/** The program itself: a package manager's wrapper script would stand between the caller's signals and the CLI. */
function executableOf(cli: Cli): string {
  const root = fileURLToPath(new URL(`../../../node_modules/${packages[cli]}/`, import.meta.url));
  const { bin } = z.object({ bin: z.record(z.string(), z.string()) }).parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));
  const path = bin[cli];
  if (path === undefined) throw new Error(`${packages[cli]} has no program named ${cli}`);
  return join(root, path);
}

function link(target: string, path: string): void {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}
