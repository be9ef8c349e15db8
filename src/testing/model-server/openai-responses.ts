import * as z from "zod";
import type { Action } from "./script.ts";
import type { Answer, Asked, Reply, ReplyIds } from "./wire.ts";

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const tool = z.looseObject({
  type: z.string(),
  name: z.string().optional(),
  get tools() {
    return z.array(tool).optional();
  },
});
const item = z.looseObject({
  type: z.string().optional(),
  role: z.string().optional(),
  call_id: z.string().optional(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  tools: z.array(tool).optional(),
});
const requestBody = z.looseObject({
  model: z.string(),
  prompt_cache_key: z.string().optional(),
  input: z.array(item),
  tools: z.array(tool).optional(),
});

type Item = z.infer<typeof item>;
type Tool = z.infer<typeof tool>;

/** Reads a request of the OpenAI Responses API as codex sends it. Throws a ZodError for one that is none. */
export function readResponses(body: unknown): Asked {
  const request = requestBody.parse(body);
  const prompts: string[] = [];
  let callIds: string[] = [];
  for (const each of request.input) {
    if (each.call_id !== undefined) callIds.push(each.call_id);
    const texts = each.role === "user" ? textsOf(each).filter((text) => !isAddedByCodex(text)) : [];
    if (texts.length === 0) continue;
    prompts.push(texts.join("\n"));
    callIds = [];
  }
  // A model that codex knows gets its tools as an item of the input instead of the field.
  const tools = [...(request.tools ?? []), ...request.input.flatMap((each) => each.tools ?? [])].flatMap(toolNames);
  return {
    model: request.model,
    stream: true,
    prompts,
    callIds,
    tools,
    ...(request.prompt_cache_key !== undefined ? { session: request.prompt_cache_key } : {}),
  };
}

/** The answer as the OpenAI Responses API streams it. */
export function answerResponses({ text, action, usage }: Reply, asked: Asked, ids: ReplyIds): Answer {
  const id = ids("response");
  const items = [
    ...(text !== undefined
      ? [{ type: "message", id: ids("message"), role: "assistant", content: [{ type: "output_text", text, annotations: [] }] }]
      : []),
    ...(action ? [{ call_id: ids(0), ...toolCall(action, asked) }] : []),
  ];
  return {
    events: [
      { type: "response.created", response: { id } },
      ...items.flatMap((each, index) => [
        { type: "response.output_item.added", output_index: index, item: "content" in each ? { ...each, content: [] } : each },
        ...("content" in each ? [{ type: "response.output_text.delta", output_index: index, content_index: 0, delta: text }] : []),
        { type: "response.output_item.done", output_index: index, item: each },
      ]),
      {
        type: "response.completed",
        response: {
          id,
          usage: {
            input_tokens: usage.inputTokens,
            input_tokens_details: { cached_tokens: 0 },
            output_tokens: usage.outputTokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: usage.inputTokens + usage.outputTokens,
          },
        },
      },
    ],
  };
}

/** The provider's body for a failed request. */
export function responsesError(status: number, message: string): unknown {
  const types: Record<number, string> = { 401: "authentication_error", 429: "rate_limit_exceeded", 500: "server_error" };
  const type = types[status] ?? "invalid_request_error";
  return { error: { message, type, code: type, param: null } };
}

function textsOf(each: Item): string[] {
  if (typeof each.content === "string") return [each.content];
  return (each.content ?? []).flatMap((piece) => (piece.text === undefined ? [] : [piece.text]));
}

/** codex speaks to its model in the name of the user, too. */
function isAddedByCodex(text: string): boolean {
  return /^\s*(<(environment_context|user_instructions|turn_aborted|skill|user_shell_command)\b|# AGENTS\.md instructions)/.test(text);
}

function toolNames(each: Tool): string[] {
  // The tools of an MCP server come in a namespace of its own, by which they are called as well.
  if (each.name?.startsWith("mcp__") && each.tools) return each.tools.map((tool) => `${each.name}__${tool.name}`);
  return each.tools ? each.tools.flatMap(toolNames) : [each.name ?? each.type];
}

/** codex offers either a function that runs a command or, to models it knows, a tool that runs JavaScript which can run commands. */
function toolCall(action: Action, asked: Asked): { type: string; name: string; namespace?: string; arguments?: string; input?: string } {
  if ("tool" in action) {
    const found = asked.tools.find((each) => each.endsWith(`__${action.tool}`));
    if (found === undefined) throw new Error(`the request offers no tool ${action.tool}, only ${asked.tools.join(", ") || "none"}`);
    const namespace = found.slice(0, -`__${action.tool}`.length);
    return { type: "function_call", namespace, name: action.tool, arguments: JSON.stringify(action.input) };
  }
  const cmd = "bash" in action ? action.bash : writeCommand(action.write.path, action.write.content);
  // A login shell would replace PATH; half a minute is the longest that codex waits before it asks the model again.
  const input = { cmd, login: false, yield_time_ms: 30_000 };
  if (asked.tools.includes("exec_command")) return { type: "function_call", name: "exec_command", arguments: JSON.stringify(input) };
  if (asked.tools.includes("exec")) {
    return { type: "custom_tool_call", name: "exec", input: `text(JSON.stringify(await tools.exec_command(${JSON.stringify(input)})))` };
  }
  throw new Error(`the request offers no tool that runs commands, only ${asked.tools.join(", ") || "none"}`);
}

function writeCommand(path: string, content: string): string {
  return `mkdir -p -- "$(dirname -- ${quoted(path)})" && printf %s ${quoted(content)} > ${quoted(path)}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
