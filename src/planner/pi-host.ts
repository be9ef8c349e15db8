/** The only file that knows PI: what a planning session needs of it, in its terminal interface and without one. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { constants } from "node:os";
import { extname, join } from "node:path";
import type {
  AgentSessionEvent,
  AgentSessionRuntime,
  ExtensionAPI,
  ExtensionContext,
  ExtensionUIContext,
  ToolDefinition,
} from "@mariozechner/pi-coding-agent";
import * as z from "zod";
import { UserError } from "../domain/errors.ts";
import { printable } from "../lib/printable.ts";
import { type McpBridge, type McpState, type McpTool, stateLine } from "./mcp-bridge.ts";
import { mayRead, type Readable, refusal } from "./readable.ts";
import { replaceFile } from "./replace-file.ts";
import type { Bench, Person, PlanTool, ToolAnswer } from "./tool.ts";
import { runTool } from "./tools.ts";

/** What PI is given. Nothing else counts: neither the repository's nor the user's own PI setup is read. */
export interface PiSetup {
  /** Without a person: with a terminal, PI's dialogs are how one is asked. */
  bench: Bench;
  /** The system prompt. */
  prompt: string;
  tools: readonly PlanTool[];
  /** SKILL.md files. */
  skills: readonly string[];
  readable: Readable;
  /** PI's own folder: credentials, models, settings, conversations. */
  agentDir: string;
  /** `provider/id`; PI's own choice when absent. */
  model: string | undefined;
  /** Go on with the latest conversation that a person had in this folder. */
  isContinued: boolean;
  /** Where the conversation is kept; among those of persons when absent. */
  sessionDir?: string;
  /** Starts the MCP servers of the configuration. Called once, after the first paint. */
  openBridge(onChange: (server: string) => void): McpBridge;
}

/** What only a terminal shows. */
export interface PiScreen {
  banner: readonly string[];
  /** Commands by name: what each is for, and the text that it shows. */
  commands: Readonly<Record<string, { summary: string; text(): Promise<string> | string }>>;
}

/** Bounds of a session without a person. */
export interface PiLimits {
  /** Ends the session when it fires. */
  signal: AbortSignal;
  maxUsd: number;
  maxTurns: number;
}

/** What a session without a person came to. */
export interface PiRun {
  model: string;
  sessionFile: string | undefined;
  /** The last words of the model. */
  text: string;
  /** Why it did not come to its end. */
  error: string | undefined;
  /** All its words, thoughts included, in their order. */
  said: { kind: "text" | "thinking"; text: string }[];
  calls: { tool: string; input: unknown; ok: boolean; answer: string }[];
  usage: { inputTokens: number; outputTokens: number; cacheReadTokens: number; cacheWriteTokens: number };
  costUsd: number;
  turns: number;
  /** The servers and how they were, one line each. */
  servers: string[];
}

type Pi = typeof import("@mariozechner/pi-coding-agent");

/** Starts loading PI, which takes most of the start. Its folder has to be known before. */
export function loadPi(agentDir: string): Promise<Pi> {
  process.env.PI_CODING_AGENT_DIR = agentDir;
  // Without it PI downloads programs, asks for updates, and runs the package manager that a setting names.
  process.env.PI_OFFLINE = "1";
  process.env.PI_TELEMETRY = "0";
  return Promise.all([
    import("@mariozechner/pi-coding-agent"),
    import("./proxy.ts").then(({ useProxiesOfEnvironment }) => useProxiesOfEnvironment()),
  ]).then(
    ([pi]) => pi,
    (error: unknown) => {
      throw (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND"
        ? new UserError("PI, which plans with you, is not installed.", {
            hint: "install orchestrator with its dependencies, or plan with --launcher claude or codex",
            exit: "notFound",
            cause: error,
          })
        : error;
    },
  );
}

/** Opens PI's terminal interface. PI ends the process itself: with 0, or as a signal asks. */
export async function runPiInTerminal(pi: Pi, setup: PiSetup, screen: PiScreen): Promise<never> {
  let ending = 0;
  let isOpen = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // PI takes its own listener away before it has cleaned up; without another one the signal would then kill it.
    process.on(signal, () => {
      ending ||= 128 + constants.signals[signal];
      if (!isOpen) process.exit(ending);
      // PI ends by the others alone.
      if (signal === "SIGINT") process.kill(process.pid, "SIGTERM");
    });
  }
  process.on("exit", (code) => {
    if (code === 0) process.exitCode = ending;
  });
  const hosted = hostOf(setup, screen);
  const runtime = await openRuntime(pi, setup, hosted.extension);
  const { modelFallbackMessage } = runtime;
  const mode = new pi.InteractiveMode(runtime, modelFallbackMessage === undefined ? {} : { modelFallbackMessage });
  isOpen = true;
  await quietly(() => mode.init());
  await mode.run();
  throw new Error("PI's interface has returned");
}

/** Has PI plan alone. Never rejects for what the provider does: the result says it. UserError when there is no model to work with. */
export async function runPiAlone(pi: Pi, setup: PiSetup, request: string, limits: PiLimits): Promise<PiRun> {
  const hosted = hostOf(setup, undefined);
  const runtime = await openRuntime(pi, setup, hosted.extension);
  const { session } = runtime;
  const record = recordOf();
  let stopped: string | undefined;
  const stop = (why: string) => {
    stopped ??= why;
    void session.abort();
  };
  const onAbort = () => stop(limits.signal.reason instanceof Error ? limits.signal.reason.message : "stopped");
  try {
    await session.bindExtensions({});
    const servers = await hosted.serversSettled(limits.signal);
    session.subscribe((event) => {
      record.take(event);
      if (record.costUsd >= limits.maxUsd) stop(`it has cost $${Number(record.costUsd.toPrecision(3))} of $${limits.maxUsd}`);
      if (record.turns >= limits.maxTurns && event.type === "turn_end") stop(`it has taken ${record.turns} turns`);
    });
    limits.signal.addEventListener("abort", onAbort);
    if (limits.signal.aborted) onAbort();
    else await session.prompt(request);
    const { provider = "unknown", id = "unknown" } = session.model ?? {};
    return {
      model: `${provider}/${id}`,
      sessionFile: session.sessionManager.getSessionFile(),
      ...record.result(),
      ...(stopped === undefined ? {} : { error: stopped }),
      servers,
    };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`PI cannot plan: ${error instanceof Error ? error.message : String(error)}`, { hint: noModelHint, cause: error });
  } finally {
    limits.signal.removeEventListener("abort", onAbort);
    await runtime.dispose();
    await hosted.close();
  }
}

const noModelHint =
  "set a provider's key (such as ANTHROPIC_API_KEY), sign in once with /login in `orchestrator interactive`, or use --launcher claude or codex";

async function openRuntime(pi: Pi, setup: PiSetup, extension: (api: ExtensionAPI) => void): Promise<AgentSessionRuntime> {
  const { bench, agentDir, model, prompt, skills } = setup;
  mkdirSync(agentDir, { recursive: true, mode: 0o700 });
  chmodSync(agentDir, 0o700);
  const settings = () => {
    const manager = pi.SettingsManager.fromStorage({
      withLock: (scope, change) => (scope === "global" ? changeSettings(agentDir, change) : void change(undefined)),
    });
    manager.applyOverrides({ quietStartup: false, collapseChangelog: true, enableInstallTelemetry: false, ...choiceOf(model) });
    return manager;
  };
  const tools = builtInTools(pi, setup);
  const runtime = await pi.createAgentSessionRuntime(
    async ({ cwd, agentDir, sessionManager, sessionStartEvent }) => {
      const services = await pi.createAgentSessionServices({
        cwd,
        agentDir,
        settingsManager: settings(),
        resourceLoaderOptions: {
          // The first keeps .pi/SYSTEM.md from being looked for, the second a text from being read as a path.
          systemPrompt: prompt,
          systemPromptOverride: () => prompt,
          appendSystemPromptOverride: () => [],
          agentsFilesOverride: ({ agentsFiles }) => ({ agentsFiles: agentsFiles.filter(({ path }) => mayRead(setup.readable, path)) }),
          additionalSkillPaths: [...skills],
          extensionFactories: [extension],
          noExtensions: true,
          noSkills: true,
          noPromptTemplates: true,
          noThemes: true,
        },
      });
      const started = { services, sessionManager, ...(sessionStartEvent === undefined ? {} : { sessionStartEvent }) };
      // An allow-list of tools would also keep out those of MCP servers, which come later.
      const created = await pi.createAgentSessionFromServices({ ...started, noTools: "builtin", customTools: tools });
      return { ...created, services, diagnostics: services.diagnostics };
    },
    {
      cwd: bench.cwd,
      agentDir,
      sessionManager: setup.isContinued
        ? pi.SessionManager.continueRecent(bench.cwd)
        : pi.SessionManager.create(bench.cwd, setup.sessionDir),
    },
  );
  checkModel(model, runtime);
  return runtime;
}

/** PI takes another model silently when it does not know the one that was asked for. */
function checkModel(wanted: string | undefined, { session }: AgentSessionRuntime): void {
  if (wanted === undefined || session.model === undefined || session.model.provider === "unknown") return;
  const has = `${session.model.provider}/${session.model.id}`;
  if (has === wanted || session.messages.length > 0) return;
  throw new UserError(`PI does not know the model ${wanted}, or has no key for it; it would take ${has}.`, {
    hint: `correct the model of the agent in the configuration; ${noModelHint}`,
    exit: "invalid",
  });
}

function choiceOf(model: string | undefined): { defaultProvider?: string; defaultModel?: string } {
  const [, provider, id] = /^([^/]+)\/(.+)$/.exec(model ?? "") ?? [];
  return provider === undefined || id === undefined ? {} : { defaultProvider: provider, defaultModel: id };
}

/** Settings of our own folder alone; what PI wants to write for a project is dropped. */
function changeSettings(agentDir: string, change: (text: string | undefined) => string | undefined): void {
  const file = join(agentDir, "settings.json");
  let before: string | undefined;
  try {
    before = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const after = change(before);
  if (after === undefined || after === before) return;
  replaceFile(file, after);
}

/** Reading and listing are PI's own tools, kept to what the session may read; the planner's come beside them. */
function builtInTools(pi: Pi, { bench, tools, readable }: PiSetup): ToolDefinition[] {
  // PI has ways of its own to understand a path, such as ~ and @: what counts is the file that it then opens.
  const kept =
    <Given>(open: (path: string) => Given) =>
    (path: string): Given => {
      if (!mayRead(readable, path)) throw new Error(refusal(readable, path));
      return open(path);
    };
  const reading = { access: kept((path) => access(path)), readFile: kept((path) => readFile(path)), detectImageMimeType };
  const listing = { exists: kept(existsSync), stat: statSync, readdir: kept((path) => readdirSync(path)) };
  return [
    pi.createReadToolDefinition(bench.cwd, { operations: reading }) as ToolDefinition,
    pi.createLsToolDefinition(bench.cwd, { operations: listing }) as ToolDefinition,
    ...tools.map((tool) => planToolDefinition(tool, bench)),
  ];
}

const imageTypes: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
};

async function detectImageMimeType(path: string): Promise<string | undefined> {
  return imageTypes[extname(path).slice(1).toLowerCase()];
}

function planToolDefinition(tool: PlanTool, bench: Bench): ToolDefinition {
  const { $schema: _draft, ...schema } = z.toJSONSchema(tool.input, { io: "input" });
  return {
    name: tool.name,
    label: tool.name.replaceAll("_", " "),
    description: tool.description,
    parameters: schema as ToolDefinition["parameters"],
    // Two dialogs at once would be in each other's way; a question is one, too.
    executionMode: "sequential",
    async execute(_id, input, signal, _onUpdate, context) {
      const person = context.hasUI ? personAt(context.ui, signal) : undefined;
      return given(await runTool(tool, input, { ...bench, ...(person ? { person } : {}), ...(signal ? { signal } : {}) }));
    },
  };
}

function mcpToolDefinition(tool: McpTool, { approved }: Bench): ToolDefinition {
  return {
    name: tool.name,
    label: tool.name,
    description: tool.description,
    parameters: tool.inputSchema as unknown as ToolDefinition["parameters"],
    executionMode: tool.readOnly ? "parallel" : "sequential",
    async execute(_id, input, signal, _onUpdate, context) {
      // A text that is planned from may ask for anything. The server's word that a tool changes nothing is all there is.
      if (!tool.readOnly && !approved) {
        if (!context.hasUI) throw new Error("this tool may change something and needs a person's yes, and nobody is there: do without it");
        const isWanted = await personAt(context.ui, signal).confirm(`Let the planner use ${tool.name}?`, JSON.stringify(input, null, 2));
        if (!isWanted) throw new Error("declined: the person said no, and nothing was done");
      }
      const { ok, text, images } = await tool.call(input as Record<string, unknown>, signal);
      const answer = given({ ok, text });
      return { ...answer, content: [...answer.content, ...images.map((image) => ({ type: "image" as const, ...image }))] };
    },
  };
}

/** PI has a failed tool throw. */
function given({ ok, text }: ToolAnswer): { content: { type: "text"; text: string }[]; details: undefined } {
  if (!ok) throw new Error(text);
  return { content: [{ type: "text", text }], details: undefined };
}

const otherAnswer = "Something else…";

/** The person at PI's dialogs. */
function personAt(ui: ExtensionUIContext, signal: AbortSignal | undefined): Person {
  const options = signal ? { signal } : {};
  return {
    confirm: (title, text) => ui.confirm(printable(title), printable(text), options),
    async ask(question, choices) {
      if (choices.length === 0) return ui.input(printable(question), undefined, options);
      const chosen = await ui.select(printable(question), [...choices.map(printable), otherAnswer], options);
      if (chosen === otherAnswer) return ui.input(printable(question), undefined, options);
      return choices.find((choice) => printable(choice) === chosen);
    },
  };
}

/** What lives as long as the process, over all conversations that PI holds in it. */
function hostOf({ openBridge, bench }: PiSetup, screen: PiScreen | undefined) {
  let bridge: McpBridge | undefined;
  let api: ExtensionAPI | undefined;
  let ui: ExtensionUIContext | undefined;
  /** Every tool of a server that PI was ever given. */
  const offered = new Set<string>();

  /** PI has the tools that the servers have: those of one that is gone are offered no more. */
  function offerTools(): void {
    if (!bridge || !api) return;
    const tools = bridge.tools();
    for (const tool of tools) api.registerTool(mcpToolDefinition(tool, bench));
    const others = api.getActiveTools().filter((name) => !offered.has(name));
    for (const { name } of tools) offered.add(name);
    api.setActiveTools([...new Set([...others, ...tools.map(({ name }) => name)])]);
  }

  function onChange(server: string): void {
    // At the first call the bridge is not even returned yet.
    setImmediate(() => {
      const state = bridge?.states().get(server);
      if (!bridge || !state) return;
      if (state.state === "ready" || state.state === "failed") offerTools();
      ui?.setStatus("mcp", statusOf(bridge.states()));
      if (state.state === "failed" || state.state === "sign-in needed") ui?.notify(printable(stateLine(server, state)), "warning");
    });
  }

  return {
    extension(its: ExtensionAPI): void {
      its.on("session_start", (_event, context: ExtensionContext) => {
        api = its;
        ui = context.hasUI ? context.ui : undefined;
        if (screen)
          ui?.setHeader(() => ({
            render: (width) => ["", ...screen.banner.map((line) => ` ${line}`.slice(0, width)), ""],
            invalidate: () => {},
          }));
        ui?.setTitle("orchestrator: planning");
        if (bridge) {
          offerTools();
          ui?.setStatus("mcp", statusOf(bridge.states()));
        } else {
          // After the first paint: servers start in the time in which a person reads.
          setImmediate(() => {
            bridge ??= openBridge(onChange);
            if (ui && bridge.states().size > 0) ui.setStatus("mcp", statusOf(bridge.states()));
          });
        }
      });
      its.on("session_shutdown", async ({ reason }) => {
        api = undefined;
        ui = undefined;
        if (reason === "quit") await bridge?.close();
      });
      if (!screen) return;
      const commands = { ...screen.commands, mcp: { summary: "MCP servers and their tools", text: () => serversText(bridge) } };
      for (const [name, { summary, text }] of Object.entries(commands)) {
        its.registerCommand(name, {
          description: summary,
          handler: async (_args, context) => {
            try {
              context.ui.notify(printable(await text()), "info");
            } catch (error) {
              context.ui.notify(printable(error instanceof Error ? error.message : String(error)), "error");
            }
          },
        });
      }
    },
    /** The servers in a line each, once all are ready or have failed, or the signal fires. */
    async serversSettled(signal: AbortSignal): Promise<string[]> {
      bridge ??= openBridge(onChange);
      const stopped = new Promise((done) => signal.addEventListener("abort", done));
      if (!signal.aborted) await Promise.race([bridge.settled(), stopped]);
      offerTools();
      return [...bridge.states()].map(([name, state]) => printable(stateLine(name, state)));
    },
    async close(): Promise<void> {
      await bridge?.close();
    },
  };
}

/** `mcp: files 2, linear failed`: the number is that of its tools. */
function statusOf(states: ReadonlyMap<string, McpState>): string | undefined {
  const words = [...states].map(([name, state]) => `${name} ${state.state === "ready" ? state.tools : state.state}`);
  return words.length === 0 ? undefined : `mcp: ${words.join(", ")}`;
}

function serversText(bridge: McpBridge | undefined): string {
  const states = [...(bridge?.states() ?? [])];
  if (!bridge || states.length === 0) return "No MCP servers: mcpServers of the configuration names none.";
  return states
    .flatMap(([name, state]) => [
      stateLine(name, state),
      ...bridge
        .tools()
        .filter(({ server }) => server === name)
        .map((tool) => `  ${tool.name}`),
    ])
    .join("\n");
}

/** Takes down what a session says and does. */
function recordOf() {
  const said: PiRun["said"] = [];
  const calls: PiRun["calls"] = [];
  const inputs = new Map<string, unknown>();
  const usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  let [costUsd, turns] = [0, 0];
  let last: { text: string; error: string | undefined } = { text: "", error: "the model said nothing" };
  return {
    get costUsd() {
      return costUsd;
    },
    get turns() {
      return turns;
    },
    take(event: AgentSessionEvent): void {
      if (event.type === "tool_execution_start") inputs.set(event.toolCallId, event.args);
      if (event.type === "tool_execution_end") {
        const answer = ((event.result?.content ?? []) as { text?: string }[]).map(({ text = "" }) => text).join("\n");
        calls.push({ tool: event.toolName, input: inputs.get(event.toolCallId), ok: !event.isError, answer });
      }
      if (event.type !== "message_end" || event.message.role !== "assistant") return;
      turns += 1;
      const { content, stopReason, errorMessage, usage: used } = event.message;
      for (const part of content) {
        if (part.type === "text" && part.text.trim() !== "") said.push({ kind: "text", text: part.text });
        if (part.type === "thinking" && part.thinking.trim() !== "") said.push({ kind: "thinking", text: part.thinking });
      }
      usage.inputTokens += used.input;
      usage.outputTokens += used.output;
      usage.cacheReadTokens += used.cacheRead;
      usage.cacheWriteTokens += used.cacheWrite;
      costUsd += used.cost.total;
      const failed = stopReason === "error" || stopReason === "aborted" || stopReason === "length";
      last = {
        text: content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n"),
        error: failed ? (errorMessage ?? `the model's answer ended with "${stopReason}"`) : undefined,
      };
    },
    result: () => ({ ...last, said, calls, usage, costUsd, turns }),
  };
}

/** PI tells the console about programs that it cannot download; that would stand above its interface for ever. */
async function quietly(act: () => Promise<void>): Promise<void> {
  const { console } = globalThis;
  const { log, warn, error } = console;
  const silent = () => {};
  Object.assign(console, { log: silent, warn: silent, error: silent });
  try {
    await act();
  } finally {
    Object.assign(console, { log, warn, error });
  }
}
