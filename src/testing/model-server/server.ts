import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { answerMessages, messagesError, readMessages } from "./anthropic-messages.ts";
import { answerResponses, readResponses, responsesError } from "./openai-responses.ts";
import { type Cli, type Conversation, type Failure, isFailure, type Script, type Turn } from "./script.ts";
import { type Answer, type Asked, parseCallId, type Reply, type ReplyIds, replyIds } from "./wire.ts";

/** One request as it came in. `conversation` is there for requests that the script was asked about. */
interface RecordedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** The JSON text. */
  body: string;
  conversation?: Conversation;
}

/** A running model server. */
export interface ModelServer {
  port: number;
  /** `http://127.0.0.1:<port>`, without a path. */
  url: string;
  /** Everything asked so far, oldest first. */
  requests: readonly RecordedRequest[];
  /** Cuts every connection and stops listening. */
  close(): Promise<void>;
}

interface Api {
  read(body: unknown): Asked;
  answer(reply: Reply, asked: Asked, ids: ReplyIds): Answer;
  error(status: number, message: string): unknown;
}

const messagesApi: Api = { read: readMessages, answer: answerMessages, error: messagesError };
const responsesApi: Api = { read: readResponses, answer: answerResponses, error: responsesError };
const apis = new Map<string, Api>([
  ["/v1/messages", messagesApi],
  ["/v1/responses", responsesApi],
]);

/**
 * Starts a model provider on 127.0.0.1 that answers the agent CLIs as `script` says: the Anthropic Messages API for claude and pi,
 * the OpenAI Responses API for codex. What comes next follows from the ids in each request, so CLIs may be killed and resumed at will.
 * A script that throws makes the request fail with 400 and the message.
 */
export async function startModelServer(script: Script): Promise<ModelServer> {
  const requests: RecordedRequest[] = [];
  const attempts = new Map<string, number>();
  /** What is left of a turn after a reply. */
  const unfinished = new Map<string, Turn>();
  let answered = 0;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? "/", "http://127.0.0.1").pathname;
    const body = await text(request);
    const record: RecordedRequest = { method: request.method ?? "", path, headers: request.headers, body };
    requests.push(record);
    const api = apis.get(path);
    if (request.method === "HEAD") response.writeHead(200).end();
    else if (path === "/v1/messages/count_tokens") sendJson(response, 200, { input_tokens: 100 });
    else if (api && request.method === "POST") await answer(response, record, api);
    else sendJson(response, 404, messagesError(404, `nothing answers ${request.method} ${path}`));
  }

  async function answer(response: ServerResponse, record: RecordedRequest, api: Api): Promise<void> {
    try {
      const asked = api.read(JSON.parse(record.body));
      const last = parseCallId(asked.callIds.at(-1) ?? "");
      const rest = last && unfinished.get(last.reply);
      if (rest) return give(rest, last.turn);
      const conversation = { ...conversationOf(asked, record), turn: last ? last.turn + 1 : 0, attempt: 0, requestIndex: answered++ };
      const key = `${conversation.sessionKey} ${conversation.promptIndex} ${conversation.turn}`;
      conversation.attempt = attempts.get(key) ?? 0;
      attempts.set(key, conversation.attempt + 1);
      record.conversation = conversation;
      const next = await script(conversation);
      if (isFailure(next)) fail(response, next, api);
      else give(next, conversation.turn);

      // codex and pi run the tool calls of one answer at the same time; a script means them in their order.
      function give({ text, actions: [action, ...others] = [], usage = defaultUsage }: Turn, turn: number): void {
        const name = randomBytes(6).toString("hex");
        if (others.length > 0) unfinished.set(name, { actions: others, usage });
        send(response, api.answer({ text, action, usage }, asked, replyIds(turn, name)));
      }
    } catch (error) {
      sendJson(response, 400, api.error(400, error instanceof Error ? error.message : String(error)));
    }
  }

  const server = createServer((request, response) => {
    // A CLI that is killed in the middle of its request is part of the tests.
    handle(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function conversationOf(asked: Asked, { path, headers }: RecordedRequest): Omit<Conversation, "turn" | "attempt" | "requestIndex"> {
  const claudeSession = headers["x-claude-code-session-id"]?.toString();
  const cli: Cli = path === "/v1/responses" ? "codex" : claudeSession !== undefined ? "claude" : "pi";
  const firstPrompt = createHash("sha256")
    .update(asked.prompts[0] ?? "")
    .digest("hex");
  return {
    cli,
    sessionKey: asked.session ?? claudeSession ?? headers[clientProcessHeader]?.toString() ?? firstPrompt,
    prompt: asked.prompts.at(-1) ?? "",
    promptIndex: Math.max(0, asked.prompts.length - 1),
  };
}

const defaultUsage = { inputTokens: 100, outputTokens: 10 };

/** The header by which pi, which sends no session id, is told to name its process. */
export const clientProcessHeader = "x-client-process";

function send(response: ServerResponse, answer: Answer): void {
  if ("whole" in answer) sendJson(response, 200, answer.whole);
  else {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const event of answer.events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    response.end();
  }
}

function fail(response: ServerResponse, failure: Failure, api: Api): void {
  if ("status" in failure) {
    const body = failure.body ?? api.error(failure.status, `scripted failure ${failure.status}`);
    sendJson(response, failure.status, body, failure.headers);
  } else if ("drop" in failure && failure.drop === "before") response.destroy();
  else if ("drop" in failure) {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('event: ping\ndata: {"type":"pi', () => response.destroy());
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}
