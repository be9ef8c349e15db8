/**
 * An MCP server in the states in which servers are found: `node server.ts <manner> [argument]`.
 * good: serves by stdio; http: serves on 127.0.0.1 and prints its address, with TOKEN set only to who sends it; silent: takes everything
 * and answers nothing, not even the end of its input or SIGTERM; crash: says why on stderr and ends with 3; sign-in: asks for a
 * sign-in on stderr and serves once the file that its argument names is there.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { Server } from "@modelcontextprotocol/sdk/server/index.js";
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";

// The SDK takes longer to load than all else here, and half of the manners can do without it.
const [manner = "", argument = ""] = process.argv.slice(2);
switch (manner) {
  case "good":
    await serveStdio();
    break;
  case "http":
    await serveHttp();
    break;
  case "silent":
    process.on("SIGTERM", () => {});
    process.stdin.resume();
    setInterval(() => {}, 1000);
    break;
  case "crash":
    process.stderr.write(`cannot reach tracker.example with ${process.env.TRACKER_TOKEN}\n`);
    process.exit(3);
    break;
  case "sign-in":
    process.stderr.write("Please authorize this client by visiting:\nhttps://tracker.example/authorize?client_id=7&state=abc\n");
    while (!existsSync(argument)) await delay(20);
    await serveStdio();
    break;
  default:
    throw new Error(`no manner "${manner}"`);
}

async function serveStdio(): Promise<void> {
  const { StdioServerTransport } = await import("@modelcontextprotocol/sdk/server/stdio.js");
  await (await toolServer()).connect(new StdioServerTransport());
}

/** One page with a tool on each, so that whoever reads one page only is found out. */
async function toolServer(): Promise<Server> {
  const { Server } = await import("@modelcontextprotocol/sdk/server/index.js");
  const { CallToolRequestSchema, ListToolsRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  const server = new Server({ name: "test", version: "1" }, { capabilities: { tools: { listChanged: true } } });
  const object = (properties: Record<string, object>) => ({ type: "object" as const, properties, required: Object.keys(properties) });
  const tools = [
    { name: "echo", description: "Says it again.", inputSchema: object({ text: { type: "string" } }), annotations: { readOnlyHint: true } },
    { name: "variable", inputSchema: object({ name: { type: "string" } }) },
    { name: "picture", inputSchema: object({}), outputSchema: { type: "object" as const, properties: { x: { $ref: "#/nowhere" } } } },
    { name: "refuse", inputSchema: object({}) },
    { name: "learn", inputSchema: object({ name: { type: "string" } }) },
    { name: "die", inputSchema: object({}) },
  ];
  const answers: Record<string, (input: Record<string, unknown>) => CallToolResult> = {
    echo: ({ text }) => says(String(text)),
    variable: ({ name }) => says(String(process.env[String(name)])),
    picture: () => ({ content: [{ type: "image", data: "AAAA", mimeType: "image/png" }] }),
    refuse: () => ({ ...says("the tracker is closed"), isError: true }),
    learn({ name }) {
      tools.push({ name: String(name), inputSchema: object({}) });
      void server.sendToolListChanged();
      return says("learnt");
    },
    die() {
      process.stderr.write("out of memory\n");
      process.exit(9);
    },
  };
  server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
    const page = Number(params?.cursor ?? 0);
    return { tools: tools.slice(page, page + 1), ...(page + 1 < tools.length ? { nextCursor: String(page + 1) } : {}) };
  });
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
    const answer = answers[params.name];
    if (!answer) throw new Error(`no tool ${params.name}`);
    return answer(params.arguments ?? {});
  });
  return server;
}

function says(text: string): CallToolResult {
  return { content: [{ type: "text", text }] };
}

async function serveHttp(): Promise<void> {
  const { StreamableHTTPServerTransport } = await import("@modelcontextprotocol/sdk/server/streamableHttp.js");
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID });
  await (await toolServer()).connect(transport as Parameters<Server["connect"]>[0]);
  const http = createServer((request, response) => {
    const { TOKEN } = process.env;
    if (TOKEN !== undefined && request.headers.authorization !== `Bearer ${TOKEN}`) response.writeHead(401).end();
    else void transport.handleRequest(request, response);
  });
  http.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp\n`));
}
