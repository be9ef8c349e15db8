import * as z from "zod";
import type { Action } from "./script.ts";
import type { Answer, Asked, Reply, ReplyIds } from "./wire.ts";

const block = z.looseObject({ type: z.string(), text: z.string().optional(), id: z.string().optional() });
const requestBody = z.looseObject({
  model: z.string(),
  stream: z.boolean().optional(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.union([z.string(), z.array(block)]) })),
  tools: z.array(z.looseObject({ name: z.string() })).optional(),
});

type Block = z.infer<typeof block>;

/** Reads a request of the Anthropic Messages API. Throws a ZodError for one that is none. */
export function readMessages(body: unknown): Asked {
  const request = requestBody.parse(body);
  const prompts: string[] = [];
  let callIds: string[] = [];
  for (const { role, content } of request.messages) {
    const blocks: Block[] = typeof content === "string" ? [{ type: "text", text: content }] : content;
    for (const each of blocks) {
      if (each.type === "tool_use") callIds.push(each.id ?? "");
      // claude joins what follows each other in one message: reminders, tool results and, after a failure, the next prompt.
      const prompt = role === "user" && each.type === "text" ? withoutReminders(each.text ?? "") : "";
      if (prompt === "") continue;
      prompts.push(prompt);
      callIds = [];
    }
  }
  return { model: request.model, stream: request.stream ?? false, prompts, callIds, tools: (request.tools ?? []).map((tool) => tool.name) };
}

/** The answer as the Anthropic Messages API gives it: one message, whole or as server-sent events. */
export function answerMessages({ text, action, usage }: Reply, asked: Asked, ids: ReplyIds): Answer {
  const content = [
    ...(text !== undefined ? [{ type: "text", text }] : []),
    ...(action ? toolUses(action, asked).map((call, index) => ({ type: "tool_use", id: ids(index), ...call })) : []),
  ];
  const message = {
    id: ids("message"),
    type: "message",
    role: "assistant",
    model: asked.model,
    content,
    stop_reason: action ? "tool_use" : "end_turn",
    stop_sequence: null,
    usage: {
      input_tokens: usage.inputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: usage.outputTokens,
    },
  };
  if (!asked.stream) return { whole: message };
  const start = { ...message, content: [], stop_reason: null, usage: { ...message.usage, output_tokens: 1 } };
  return {
    events: [
      { type: "message_start", message: start },
      ...content.flatMap((each, index) => [
        { type: "content_block_start", index, content_block: "text" in each ? { ...each, text: "" } : { ...each, input: {} } },
        {
          type: "content_block_delta",
          index,
          delta:
            "text" in each
              ? { type: "text_delta", text: each.text }
              : { type: "input_json_delta", partial_json: JSON.stringify(each.input) },
        },
        { type: "content_block_stop", index },
      ]),
      {
        type: "message_delta",
        delta: { stop_reason: message.stop_reason, stop_sequence: null },
        usage: { output_tokens: usage.outputTokens },
      },
      { type: "message_stop" },
    ],
  };
}

/** The provider's body for a failed request. */
export function messagesError(status: number, message: string): unknown {
  const types: Record<number, string> = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
  };
  return { type: "error", error: { type: types[status] ?? "api_error", message } };
}

/** claude adds reminders and notes of its own to what a person says. */
function withoutReminders(text: string): string {
  return text
    .replaceAll(/<system-reminder>[\s\S]*?<\/system-reminder>/g, "")
    .replaceAll(/^\[Request interrupted by user.*\]$/gm, "")
    .trim();
}

/** claude and pi name the same tools differently; what is offered says who asks. */
function toolUses(action: Action, asked: Asked): { name: string; input: unknown }[] {
  if ("tool" in action) {
    const name = asked.tools.find((each) => each === action.tool || each.endsWith(`__${action.tool}`));
    if (name !== undefined) return [{ name, input: action.input }];
  } else if ("bash" in action) {
    if (asked.tools.includes("Bash")) return [{ name: "Bash", input: { command: action.bash, description: "Run a command" } }];
    if (asked.tools.includes("bash")) return [{ name: "bash", input: { command: action.bash } }];
  } else {
    const { path, content } = action.write;
    // claude writes over an existing file only if the session has read it; that the file is not there yet does no harm.
    const read = asked.tools.includes("Read") ? [{ name: "Read", input: { file_path: path } }] : [];
    if (asked.tools.includes("Write")) return [...read, { name: "Write", input: { file_path: path, content } }];
    if (asked.tools.includes("write")) return [{ name: "write", input: { path, content } }];
  }
  throw new Error(`the request offers no tool for ${JSON.stringify(action).slice(0, 200)}, only ${asked.tools.join(", ") || "none"}`);
}
