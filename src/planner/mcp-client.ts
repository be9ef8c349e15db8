import { setTimeout as delay } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport, StreamableHTTPError } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { RequestOptions } from "@modelcontextprotocol/sdk/shared/protocol.js";
import {
  type CallToolResult,
  CallToolResultSchema,
  ListToolsResultSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import type { McpServer } from "../agents/mcp.ts";
import { plainEnvironment } from "../lib/plain-environment.ts";
import { createRedactor, secretValues } from "../lib/redact.ts";
import { type ProgramTransport, programTransport } from "./mcp-program.ts";
import type { ToolAnswer } from "./tool.ts";

/** What a server says about one of its tools. */
export interface ListedTool {
  name: string;
  description: string;
  /** A JSON Schema, as the server wrote it. */
  inputSchema: { type: "object"; [keyword: string]: unknown };
  readOnly: boolean;
}

/** What a tool answered. */
export interface McpAnswer extends ToolAnswer {
  /** In base64. */
  images: { data: string; mimeType: string }[];
}

/** A server that was asked to connect. */
export interface McpConnection {
  /** Its tools once it is ready. Rejects with an error whose message says in a line what is wrong with it. */
  connected: Promise<ListedTool[]>;
  /** Never rejects. */
  call(tool: string, input: Record<string, unknown>, signal?: AbortSignal): Promise<McpAnswer>;
  /** Never rejects. */
  close(): Promise<void>;
  /** Ends its processes without waiting for anything. */
  killNow(): void;
}

/** What a connection needs, and whom it tells. */
export interface McpWorld {
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  version: string;
  connectMs: number;
  /** It is connecting, and its program asks for a sign-in at this address. */
  onSignIn(url: string): void;
  /** It was ready, and its tools are others now. */
  onTools(tools: ListedTool[]): void;
  /** It was ready, and is gone. */
  onGone(reason: string): void;
}

/** Beside what every child gets: a program that opens a browser for a sign-in has to find it. */
const ofDesktops = ["BROWSER", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"];
/** A server that gives page after page for ever is cut short. */
const maxPages = 100;
const callMs = 300_000;
const farewellMs = 1000;
const keptLines = 3;
/** Longest answer that a model gets, in characters. */
const maxAnswer = 100_000;

/** Connects to a server. Throws for an address that is none. */
export function openMcp(server: McpServer, world: McpWorld): McpConnection {
  const secrets = secretsOf(server, world.env);
  const redacted = (text: string) => text.split("\n").map(createRedactor(secrets)).join("\n");
  const said: string[] = [];
  let signIn: string | undefined;
  let state: "connecting" | "ready" | "closed" = "connecting";
  let closing: Promise<void> | undefined;

  const { program, web } = transportOf(server, world, hear);
  const client = new Client({ name: "orchestrator", version: world.version });
  const late = new AbortController();
  const lateness = setTimeout(() => late.abort(), world.connectMs).unref();

  function hear(line: string): void {
    const text = redacted(oneLine(line, 2000));
    if (text === "") return;
    const url = state === "connecting" ? signInAddress(text, said.at(-1) ?? "") : undefined;
    if (url !== undefined && url !== signIn) {
      signIn = url;
      world.onSignIn(url);
    }
    said.push(text);
    if (said.length > keptLines) said.shift();
  }

  async function connect(): Promise<ListedTool[]> {
    try {
      const options = { signal: late.signal, timeout: world.connectMs };
      await client.connect(program ?? web, options);
      const tools = await list(options);
      state = "ready";
      return tools;
    } catch (error) {
      const reason = explain(error);
      await close();
      throw new Error(reason);
    } finally {
      clearTimeout(lateness);
    }
  }

  async function list(options: RequestOptions = {}): Promise<ListedTool[]> {
    if (client.getServerCapabilities()?.tools === undefined) return [];
    const tools: ListedTool[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < maxPages; page++) {
      const params = cursor === undefined ? {} : { cursor };
      // client.listTools() would compile the output schemas too, and one that does not compile would cost all tools.
      const found = await client.request({ method: "tools/list", params }, ListToolsResultSchema, options);
      for (const { name, description = "", inputSchema, annotations } of found.tools) {
        tools.push({ name, description, inputSchema, readOnly: annotations?.readOnlyHint === true });
      }
      if (!found.nextCursor || found.nextCursor === cursor) break;
      cursor = found.nextCursor;
    }
    return tools;
  }

  /** How a program ended, and its own words, tell more than what we ran into because of it. */
  function explain(error: unknown): string {
    const isLate = late.signal.aborted && state === "connecting";
    if (isLate && signIn !== undefined) return `nobody signed in within ${world.connectMs / 1000} s at ${signIn}`;
    const ending = isLate ? `no answer within ${world.connectMs / 1000} s` : program?.ending();
    if (ending === undefined) return redacted(reasonOf(error, server));
    return said.length === 0 ? ending : `${ending}; it said: ${said.join(" | ").slice(-500)}`;
  }

  function close(): Promise<void> {
    state = "closed";
    closing ??= (async () => {
      if (web) await Promise.race([web.terminateSession(), delay(farewellMs, undefined, { ref: false })]).catch(() => {});
      await (program ?? web).close().catch(() => {});
    })();
    return closing;
  }

  client.setNotificationHandler(ToolListChangedNotificationSchema, async () => {
    if (state === "ready") world.onTools(await list());
  });
  client.onclose = () => {
    if (state !== "ready") return;
    state = "closed";
    world.onGone(explain(new Error("the connection was closed")));
  };

  return {
    connected: connect(),
    async call(tool, input, signal) {
      // The SDK never lets go of a signal, and would report as cancelled what has long been answered.
      const stop = new AbortController();
      const abort = () => stop.abort(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      if (signal?.aborted) abort();
      try {
        const params = { name: tool, arguments: input };
        const options = { timeout: callMs, resetTimeoutOnProgress: true, onprogress: () => {}, signal: stop.signal };
        return answerOf(await client.request({ method: "tools/call", params }, CallToolResultSchema, options), redacted);
      } catch (error) {
        return { ok: false, text: `The call failed: ${explain(error)}`, images: [] };
      } finally {
        signal?.removeEventListener("abort", abort);
      }
    },
    close,
    killNow: () => program?.killNow(),
  };
}

type Transports = { program: ProgramTransport; web?: undefined } | { program?: undefined; web: StreamableHTTPClientTransport };

function transportOf(server: McpServer, { cwd, env }: McpWorld, onStderr: (line: string) => void): Transports {
  if ("url" in server) return { web: new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers: server.headers } }) };
  return { program: programTransport({ ...server, cwd, env: { ...plainEnvironment(env, ofDesktops), ...server.env }, onStderr }) };
}

/** Headers are secrets whatever they are called; of variables, names tell. */
function secretsOf(server: McpServer, env: McpWorld["env"]): string[] {
  // The secret of a header stands behind a word such as Bearer.
  const own: [string, string | undefined][] =
    "command" in server
      ? Object.entries(server.env)
      : Object.values(server.headers).map((value, i) => [`SECRET_${i}`, value.split(" ").at(-1)]);
  return secretValues({ ...env, ...Object.fromEntries(own.map(([name, value]) => [`MCP_${name}`, value])) });
}

/** The address that a program's line, or the line before it, asks a person to open. */
function signInAddress(line: string, before: string): string | undefined {
  const url = /https?:\/\/[^\s"'<>]+/.exec(line)?.[0];
  if (url === undefined || /callback|listening|running (at|on)/i.test(line)) return undefined;
  const asks = /authori[sz]|sign.?in|log.?in|visit|open (this|the following|in)|browser/i;
  const isAsked = asks.test(line.replace(url, "")) || (line === url && asks.test(before));
  return isAsked || /[/?&](oauth2?|authorize|login|response_type)\b/i.test(url) ? url : undefined;
}

function reasonOf(error: unknown, server: McpServer): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if ("command" in server && code === "ENOENT") return `there is no program "${server.command}" (looked for on PATH)`;
  if ("command" in server && code === "EACCES") return `"${server.command}" may not be executed`;
  if (error instanceof StreamableHTTPError && "url" in server) {
    if (error.code === 401 || error.code === 403) return `it answers ${error.code}: it wants a token in its headers, or a sign-in`;
    return `it answers ${error.code}: ${oneLine(error.message, 300)}`;
  }
  if ("url" in server && error.cause instanceof Error) {
    const cause = error.cause as NodeJS.ErrnoException;
    return `${new URL(server.url).origin} cannot be reached: ${cause.code ?? oneLine(cause.message, 300)}`;
  }
  return oneLine(error.message, 500);
}

function answerOf({ content, structuredContent, isError }: CallToolResult, redacted: (text: string) => string): McpAnswer {
  const texts: string[] = [];
  const images: McpAnswer["images"] = [];
  for (const part of content) {
    if (part.type === "text") texts.push(part.text);
    else if (part.type === "image") images.push({ data: part.data, mimeType: part.mimeType });
    else if (part.type === "audio") texts.push(`[audio, ${part.mimeType}]`);
    else if (part.type === "resource_link") texts.push(`[resource ${part.uri}: ${part.name}]`);
    else texts.push("text" in part.resource ? part.resource.text : `[resource ${part.resource.uri}, not a text]`);
  }
  if (content.length === 0 && structuredContent !== undefined) texts.push(JSON.stringify(structuredContent));
  const text = redacted(texts.join("\n"));
  const cut = text.length > maxAnswer ? `${text.slice(0, maxAnswer)}\n[cut: the answer has ${text.length} characters]` : text;
  return { ok: isError !== true, text: cut, images };
}

function oneLine(text: string, maxLength: number): string {
  return stripVTControlCharacters(text)
    .replaceAll(/\p{Cc}+/gu, " ")
    .trim()
    .slice(0, maxLength);
}
