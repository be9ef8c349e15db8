import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { McpServerConfig } from "../domain/config.ts";
import { processesWith } from "../testing/processes.ts";
import { tempDir } from "../testing/temp.ts";
import { until } from "../testing/until.ts";
import { type McpBridge, type McpBridgeOptions, startMcpBridge, stateLine } from "./mcp-bridge.ts";

const program = fileURLToPath(new URL("../testing/mcp/server.ts", import.meta.url));
const host = fileURLToPath(new URL("../testing/mcp/host.ts", import.meta.url));
const token = "tracker-token-0123456789";
const reference = (name: string) => ["$", `{${name}}`].join("");
const patience = 60_000;

/** A configured server that runs the test program in this manner. */
function server(...args: string[]): McpServerConfig {
  return McpServerConfig.parse({ command: process.execPath, args: [program, ...args] });
}

function bridge(servers: Record<string, McpServerConfig>, over: Partial<McpBridgeOptions> = {}): McpBridge & { lines: string[] } {
  const lines: string[] = [];
  const started = startMcpBridge({
    servers,
    env: { PATH: process.env.PATH, TRACKER: token },
    cwd: tempDir(),
    version: "1",
    connectMs: patience,
    onChange: (name) => lines.push(stateLine(name, started.states().get(name) ?? { state: "connecting" })),
    ...over,
  });
  onTestFinished(() => started.close());
  return { ...started, lines };
}

function call(from: McpBridge, name: string, input: Record<string, unknown> = {}) {
  const tool = from.tools().find((each) => each.name === name);
  if (!tool) throw new Error(`no tool ${name}`);
  return tool.call(input);
}

/** A server on a port of its own, with its address. */
async function httpServer(env: Record<string, string> = {}): Promise<string> {
  const child = spawn(process.execPath, [program, "http"], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  const [line] = await once(child.stdout, "data");
  return String(line).trim();
}

/** An address at which nobody listens. */
async function closedAddress(): Promise<string> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  listener.close();
  return `http://127.0.0.1:${port}/mcp`;
}

const toolNames = ["echo", "variable", "picture", "refuse", "learn", "die"];

describe("the servers of the configuration", () => {
  it("good, missing, silent and crashing ones: the session has started before any of them, and each is one line", async () => {
    const marker = randomUUID();
    const closed = await closedAddress();
    const withMarker = (config: McpServerConfig) => ({ ...config, env: { TEST_MARKER: marker, TRACKER_TOKEN: reference("TRACKER") } });
    const all = bridge({
      files: withMarker(server("good")),
      web: McpServerConfig.parse({
        url: await httpServer({ TOKEN: token }),
        headers: { Authorization: `Bearer ${reference("TRACKER")}` },
      }),
      missing: McpServerConfig.parse({ command: "no-such-server" }),
      silent: withMarker(server("silent")),
      crash: withMarker(server("crash")),
      unset: McpServerConfig.parse({ command: "x", env: { KEY: reference("NOT_SET") } }),
      refused: McpServerConfig.parse({ url: closed }),
    });
    expect([...all.states().values()].map(({ state }) => state)).toEqual(Array(7).fill("connecting"));
    expect(processesWith(`TEST_MARKER=${marker}`)).toEqual([]);
    await until(() => [...all.states().values()].filter(({ state }) => state === "connecting").length === 1, patience);
    expect(Object.fromEntries(all.states())).toEqual({
      files: { state: "ready", tools: 6 },
      web: { state: "ready", tools: 6 },
      missing: { state: "failed", reason: 'there is no program "no-such-server" (looked for on PATH)' },
      silent: { state: "connecting" },
      crash: { state: "failed", reason: "it ended with exit code 3; it said: cannot reach tracker.example with [redacted]" },
      unset: { state: "failed", reason: "The environment variable NOT_SET is not set; KEY refers to it." },
      refused: { state: "failed", reason: `${new URL(closed).origin} cannot be reached: ECONNREFUSED` },
    });
    expect(all.tools().map(({ name }) => name)).toEqual(
      ["files", "web"].flatMap((name) => toolNames.map((tool) => `mcp__${name}__${tool}`)),
    );
    expect(all.tools()[0]).toMatchObject({ description: "Says it again.", inputSchema: { required: ["text"] }, readOnly: true });
    expect(await call(all, "mcp__files__echo", { text: "stdio" })).toEqual({ ok: true, text: "stdio", images: [] });
    expect(await call(all, "mcp__web__echo", { text: "http" })).toEqual({ ok: true, text: "http", images: [] });
    expect(await call(all, "mcp__files__refuse")).toEqual({ ok: false, text: "the tracker is closed", images: [] });
    expect(await call(all, "mcp__files__picture")).toEqual({ ok: true, text: "", images: [{ data: "AAAA", mimeType: "image/png" }] });
    expect(processesWith(`TEST_MARKER=${marker}`).length).toBe(2);
    await all.close();
    expect(processesWith(`TEST_MARKER=${marker}`)).toEqual([]);
    expect(await call(all, "mcp__files__echo", { text: "late" })).toMatchObject({ ok: false });
  }, 90_000);

  it("get their secrets by their environment alone, and none comes back", async () => {
    const marker = randomUUID();
    const all = bridge({ files: { ...server("good"), env: { TEST_MARKER: marker, API_TOKEN: reference("TRACKER") } } });
    await all.settled();
    const [pid] = processesWith(`TEST_MARKER=${marker}`);
    expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).not.toContain(token);
    expect(readFileSync(`/proc/${pid}/environ`, "utf8").split("\0")).toContain(`API_TOKEN=${token}`);
    expect(await call(all, "mcp__files__variable", { name: "API_TOKEN" })).toEqual({ ok: true, text: "[redacted]", images: [] });
    expect(await call(all, "mcp__files__variable", { name: "TRACKER" })).toEqual({ ok: true, text: "undefined", images: [] });
  }, 90_000);

  it("an HTTP server that lets nobody in is said to want a token", async () => {
    const all = bridge({ web: McpServerConfig.parse({ url: await httpServer({ TOKEN: token }) }) });
    await all.settled();
    expect(all.lines).toEqual(["MCP server web is not available: it answers 401: it wants a token in its headers, or a sign-in"]);
  }, 90_000);

  it("a server that wants a sign-in says where, and is ready after it", async () => {
    const file = join(tempDir(), "signed-in");
    const all = bridge({ tracker: server("sign-in", file) });
    const url = "https://tracker.example/authorize?client_id=7&state=abc";
    await until(() => all.states().get("tracker")?.state === "sign-in needed", patience);
    writeFileSync(file, "");
    await all.settled();
    expect(all.lines).toEqual([`MCP server tracker: sign-in needed, open ${url}`, "MCP server tracker: ready, 6 tools"]);
  }, 90_000);

  it("one that does not answer is given up, and so is a sign-in that nobody does", async () => {
    const url = "https://tracker.example/authorize?client_id=7&state=abc";
    const asks = `printf '%s\\n' 'Please authorize this client by visiting:' '${url}' >&2; exec sleep 600`;
    const servers = { silent: { command: "sleep", args: ["600"] }, tracker: { command: "sh", args: ["-c", asks] } };
    const all = bridge(servers, { connectMs: 2000 });
    await all.settled();
    expect(Object.fromEntries(all.states())).toEqual({
      silent: { state: "failed", reason: "no answer within 2 s" },
      tracker: { state: "failed", reason: `nobody signed in within 2 s at ${url}` },
    });
  }, 90_000);

  it("one that ends in the middle of a call, and one that learns a tool", async () => {
    const all = bridge({ tracker: server("good") });
    await all.settled();
    await call(all, "mcp__tracker__learn", { name: "search" });
    await until(() => all.tools().length === 7, patience);
    const lost = "it ended with exit code 9; it said: out of memory";
    expect(await call(all, "mcp__tracker__die")).toEqual({ ok: false, text: `The call failed: ${lost}`, images: [] });
    expect(all.tools()).toEqual([]);
    expect(all.lines).toEqual([
      "MCP server tracker: ready, 6 tools",
      "MCP server tracker: ready, 7 tools",
      `MCP server tracker is not available: ${lost}`,
    ]);
  }, 90_000);

  it("tools have names that models can say, each its own", async () => {
    const all = bridge({ "a b": server("good"), "a.b": server("good"), ["long".repeat(20)]: server("good") });
    await all.settled();
    const names = all.tools().map(({ name }) => name);
    expect(names.filter((name) => !/^[A-Za-z0-9_-]{1,64}$/.test(name))).toEqual([]);
    expect(new Set(names).size).toBe(18);
    expect(names[0]).toBe("mcp__a_b__echo");
    expect(names[6]).toMatch(/^mcp__a_b__echo_[0-9a-f]{8}$/);
  }, 90_000);
});

describe("what servers have started ends with them", () => {
  /** A wrapper that passes no signal on, and waits for a server that heeds none. */
  const wrapped = (marker: string) =>
    McpServerConfig.parse({
      command: "sh",
      args: ["-c", `(trap "" TERM; while :; do sleep 600; done) & "${process.execPath}" "${program}" good; wait`],
      env: { TEST_MARKER: marker },
    });

  it("when the session is closed", async () => {
    const marker = randomUUID();
    const all = bridge({ wrapped: wrapped(marker) });
    await all.settled();
    expect(all.states().get("wrapped")).toEqual({ state: "ready", tools: 6 });
    expect(processesWith(`TEST_MARKER=${marker}`).length).toBe(4);
    await all.close();
    expect(processesWith(`TEST_MARKER=${marker}`)).toEqual([]);
  }, 90_000);

  it.each(["SIGTERM", "SIGHUP", "SIGINT", "exit"] as const)(
    "when the host ends by %s",
    async (end) => {
      const marker = randomUUID();
      const servers = { wrapped: wrapped(marker), silent: { command: "sleep", args: ["600"], env: { TEST_MARKER: marker } } };
      const child = spawn(process.execPath, [host, JSON.stringify(servers)], { stdio: ["pipe", "pipe", "inherit"] });
      onTestFinished(() => void child.kill("SIGKILL"));
      const ended = once(child, "exit");
      let said = "";
      child.stdout.on("data", (chunk) => {
        said += String(chunk);
      });
      await until(() => said.includes("ready, 6 tools"), patience);
      expect(processesWith(`TEST_MARKER=${marker}`).length).toBe(5);
      if (end === "exit") child.stdin.write("exit\n");
      else child.kill(end);
      expect(await ended).toEqual(end === "exit" ? [7, null] : [null, end]);
      await until(() => processesWith(`TEST_MARKER=${marker}`).length === 0);
    },
    90_000,
  );
});
