import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import {
  CallToolRequestSchema,
  type CallToolResult,
  type ElicitRequestFormParams,
  type ElicitResult,
  ListToolsRequestSchema,
  type Tool,
} from "@modelcontextprotocol/sdk/types.js";
import * as z from "zod";
import { serialQueue } from "../daemon/serial.ts";
import { UserError } from "../domain/errors.ts";
import type { Bench, Person, PlanTool } from "./tool.ts";
import { runTool } from "./tools.ts";

/** What a server of tools needs. */
export interface ToolServerOptions {
  tools: readonly PlanTool[];
  bench: Pick<Bench, "config" | "env" | "cwd">;
  /** The client asks a person before each call, so whatever is called has been approved. */
  isApproved: boolean;
  /** The version of orchestrator. */
  version: string;
  /** MCP, a message in each line. */
  input: Readable;
  /** Nobody else may write to it. */
  output: Writable;
  /** Ends the server. */
  signal: AbortSignal;
  log(line: string): void;
}

/** Time for calls to come to their end once nobody can call any more. */
const farewellMs = 10_000;
/** A person may be at lunch. */
const answerMs = 3_600_000;
const instructions =
  "Plans of orchestrator: tickets with dependencies that coding agents work on in worktrees, one after the other, until each is merged. Read before you write, and pass a whole plan in one call. An answer with findings means that nothing was written: mend them and call again.";

/**
 * Offers the tools to one MCP client until it closes the connection or `signal` ends it; then resolves, with nothing under way any
 * more. What goes wrong inside a tool is an answer, never the end of the server.
 */
export async function serveTools(options: ToolServerOptions): Promise<void> {
  const { tools, input, output, signal, log } = options;
  const server = new Server({ name: "orchestrator", version: options.version }, { capabilities: { tools: {} }, instructions });
  const queue = serialQueue();
  const underWay = new Set<Promise<unknown>>();

  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: tools.map(describe) }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => {
    const call = answer(params.name, params.arguments ?? {}, extra.signal);
    underWay.add(call);
    call.finally(() => underWay.delete(call));
    return call;
  });

  async function answer(name: string, args: unknown, aborted: AbortSignal): Promise<CallToolResult> {
    const tool = tools.find((each) => each.name === name);
    if (!tool) return result(false, `There is no tool "${name}"; there are ${tools.map((each) => each.name).join(", ")}.`);
    try {
      const bench = benchOf(options, server, aborted);
      // A model may call several at once; what one writes is what the next is to see.
      const { ok, text } = await (tool.readOnly ? runTool(tool, args, bench) : queue.run("write", () => runTool(tool, args, bench)));
      return result(ok, text);
    } catch (error) {
      if (!(error instanceof UserError)) log(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
      return result(false, error instanceof Error ? [error.message, ...hintOf(error)].join("\n") : String(error));
    }
  }

  server.onerror = (error) => log(`${error.name}: ${error.message}`);
  const left = new AbortController();
  const gone = Promise.race([once(input, "end", left), once(input, "close", left), once(output, "close", left)]).catch(() => {});
  const ended = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await server.connect(new StdioServerTransport(input, output));
  await Promise.race([gone, ended]);
  left.abort();
  // The last call may just have come in, and its answer has yet to go out.
  await turn();
  if (!signal.aborted) await Promise.race([Promise.allSettled(underWay), ended, delay(farewellMs, undefined, { ref: false })]);
  await turn();
  await server.close();
  await Promise.race([Promise.allSettled(underWay), delay(farewellMs, undefined, { ref: false })]);
}

function describe({ name, description, input, readOnly }: PlanTool): Tool {
  const { $schema: _, ...schema } = z.toJSONSchema(input, { io: "input" });
  const changes = readOnly ? {} : { destructiveHint: true };
  return {
    name,
    description,
    inputSchema: { ...schema, type: "object" } as Tool["inputSchema"],
    annotations: { readOnlyHint: readOnly, ...changes, openWorldHint: false },
  };
}

/** Text alone: clients show the model `structuredContent` in its place where there is any. */
function result(ok: boolean, text: string): CallToolResult {
  return { content: [{ type: "text", text }], ...(ok ? {} : { isError: true }) };
}

function hintOf(error: Error): string[] {
  return error instanceof UserError && error.hint !== undefined ? [`hint: ${error.hint}`] : [];
}

function benchOf({ bench, isApproved }: ToolServerOptions, server: Server, signal: AbortSignal): Bench {
  const person = personOf(server, signal);
  return {
    ...bench,
    by: server.getClientVersion()?.name ?? "mcp",
    ...(person ? { person } : {}),
    ...(isApproved ? { approved: true } : {}),
    signal,
  };
}

/** The person whom the client can ask, if it says so. */
function personOf(server: Server, signal: AbortSignal): Person | undefined {
  if (server.getClientCapabilities()?.elicitation?.form === undefined) return undefined;
  const ask = async (message: string, properties: ElicitRequestFormParams["requestedSchema"]["properties"]): Promise<ElicitResult> => {
    const requestedSchema = { type: "object" as const, properties, required: Object.keys(properties) };
    try {
      return await server.elicitInput({ mode: "form", message, requestedSchema }, { signal, timeout: answerMs });
    } catch (error) {
      throw new UserError(`The client could not ask: ${error instanceof Error ? error.message : String(error)}. Nothing was done.`);
    }
  };
  return {
    async confirm(title, text) {
      // A bare yes would not do: some clients give that by themselves to a question without fields.
      const { action, content } = await ask(`${title}\n\n${text}`, { approve: { type: "boolean", title: "Approve" } });
      return action === "accept" && content?.approve === true;
    },
    async ask(question, choices) {
      const answer = { type: "string" as const, title: "Answer", ...(choices.length > 0 ? { enum: [...choices] } : {}) };
      const { action, content } = await ask(question, { answer });
      return action === "accept" && typeof content?.answer === "string" ? content.answer : undefined;
    },
  };
}
