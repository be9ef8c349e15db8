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
import type { Bench, Person, PlanTool, ToolAnswer } from "./tool.ts";
import { runTool } from "./tools.ts";

/**
 * Who approves what a tool is to write. `ask`: a person, where the client can ask one, and else nobody. `client`: it asks before
 * each call, so what is called is approved. `nobody`: what is written is a draft.
 */
type Approval = "ask" | "client" | "nobody";

/** What a server of tools needs. */
export interface ToolServerOptions {
  tools: readonly PlanTool[];
  bench: Pick<Bench, "config" | "env" | "cwd">;
  approval: Approval;
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
      const run = () => runForPerson(tool, args, benchOf(options, server, aborted));
      // A model may call several at once; what one writes is what the next is to see.
      const { ok, text } = await (tool.readOnly ? run() : queue.run("write", run));
      return result(ok, text);
    } catch (error) {
      log(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
      return result(false, error instanceof Error ? error.message : String(error));
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

/** Thrown where a question found nobody. */
const nobody = new Error("nobody answered");

/**
 * Runs a tool with the person whom the client can ask. A client without one may offer to ask all the same, and then dismisses the
 * question itself: nothing has been written by then, and the tool runs again without a person.
 */
async function runForPerson(tool: PlanTool, args: unknown, bench: Bench): Promise<ToolAnswer> {
  try {
    return await runTool(tool, args, bench);
  } catch (error) {
    if (error !== nobody) throw error;
    const { person: _, ...alone } = bench;
    return runTool(tool, args, alone);
  }
}

function benchOf({ bench, approval }: ToolServerOptions, server: Server, signal: AbortSignal): Bench {
  const person = approval === "nobody" ? undefined : personOf(server, signal);
  return {
    ...bench,
    by: server.getClientVersion()?.name ?? "mcp",
    ...(person ? { person } : {}),
    ...(approval === "client" ? { approved: true } : {}),
    signal,
  };
}

/** The person whom the client can ask, if it says so. */
function personOf(server: Server, signal: AbortSignal): Person | undefined {
  if (server.getClientCapabilities()?.elicitation?.form === undefined) return undefined;
  type Fields = ElicitRequestFormParams["requestedSchema"]["properties"];
  const form = async (message: string, properties: Fields, required: string[]): Promise<ElicitResult> => {
    const requestedSchema = { type: "object" as const, properties, required };
    try {
      return await server.elicitInput({ mode: "form", message, requestedSchema }, { signal, timeout: answerMs });
    } catch (error) {
      throw new UserError(`The client could not ask: ${error instanceof Error ? error.message : String(error)}. Nothing was done.`);
    }
  };
  return {
    async confirm(title, text) {
      // A bare yes would not do: a client may give that by itself to a question without fields.
      const { action, content } = await form(`${title}\n\n${text}`, { approve: { type: "boolean", title: "Approve" } }, ["approve"]);
      if (action === "cancel") throw nobody;
      return action === "accept" && content?.approve === true;
    },
    async ask(question, choices) {
      const free = { type: "string" as const };
      const { action, content } = await (choices.length === 0
        ? form(question, { answer: { ...free, title: "Answer" } }, ["answer"])
        : form(question, { answer: { ...free, title: "Answer", enum: [...choices] }, other: { ...free, title: "Or something else" } }, []));
      const said = [content?.other, content?.answer].find((text) => typeof text === "string" && text.trim() !== "");
      return action === "accept" && typeof said === "string" ? said : undefined;
    },
  };
}
