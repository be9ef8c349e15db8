import { describe, expect, it, onTestFinished } from "vitest";
import { type Conversation, type Script, scenario, type Turn } from "./script.ts";
import { type ModelServer, startModelServer } from "./server.ts";

async function serve(script: Script): Promise<ModelServer> {
  const server = await startModelServer(script);
  onTestFinished(() => server.close());
  return server;
}

function ask(server: ModelServer, messages: unknown[], headers: Record<string, string> = { "x-client-process": "7" }): Promise<Response> {
  return fetch(`${server.url}/v1/messages?beta=true`, {
    method: "POST",
    headers,
    body: JSON.stringify({ model: "m", messages, tools: [{ name: "bash" }, { name: "write" }] }),
  });
}

interface Message {
  role: string;
  content: { type: string; id?: string; text?: string }[];
}

/** The answer of the model and a result for each of its tool calls. */
async function exchange(server: ModelServer, messages: Message[]): Promise<Message[]> {
  const { content } = (await (await ask(server, messages)).json()) as Message;
  const results = content.flatMap((each) => (each.id ? [{ type: "tool_result", tool_use_id: each.id, content: "" }] : []));
  return [
    { role: "assistant", content },
    { role: "user", content: results },
  ];
}

const conversation = (over: Partial<Conversation>): Conversation => ({
  cli: "pi",
  sessionKey: "s",
  prompt: "go",
  promptIndex: 0,
  turn: 0,
  attempt: 0,
  requestIndex: 0,
  ...over,
});

describe("scenario", () => {
  it("walks through the turns of the rule that fits and ends with a plain text", async () => {
    const script = scenario([
      { when: /nothing/, turns: [] },
      { when: /implement (\w+)/i, turns: ([, name]) => [{ actions: [{ bash: `echo ${name}` }] }, { text: "ok" }] },
    ]);
    const prompt = "Please implement Login.";
    expect([0, 1, 2].map((turn) => script(conversation({ prompt, turn })))).toEqual([
      { actions: [{ bash: "echo Login" }] },
      { text: "ok" },
      { text: "Done." },
    ]);
  });

  it("spends failures by the attempts at the turn after them", () => {
    const script = scenario([{ when: /go/, turns: [{ text: "a" }, { status: 429, times: 2 }, { hang: true, times: 1 }, { text: "b" }] }]);
    expect(script(conversation({}))).toEqual({ text: "a" });
    expect([0, 1, 2, 3].map((attempt) => script(conversation({ turn: 1, attempt })))).toEqual([
      { status: 429 },
      { status: 429 },
      { hang: true },
      { text: "b" },
    ]);
  });

  it("lets a rule serve a number of prompts, each to its end", () => {
    const script = scenario([
      { when: /verify/, turns: [{ actions: [{ bash: "false" }] }, { text: "FAIL" }], times: 1 },
      { when: /verify/, turns: [{ text: "PASS" }] },
    ]);
    expect([
      script(conversation({ prompt: "verify", sessionKey: "first" })),
      script(conversation({ prompt: "verify", sessionKey: "second" })),
      script(conversation({ prompt: "verify", sessionKey: "first", turn: 1 })),
    ]).toEqual([{ actions: [{ bash: "false" }] }, { text: "PASS" }, { text: "FAIL" }]);
  });

  it("says which prompt no rule fits", () => {
    expect(() => scenario([])(conversation({ prompt: "what?" }))).toThrow('no rule of the scenario fits the prompt "what?"');
  });
});

describe("the model server", () => {
  it("reads prompt, turn and attempt from the conversation, past reminders and joined messages", async () => {
    const server = await serve(() => ({ text: "hm", actions: [{ bash: "true" }] }));
    const first = [
      {
        role: "user",
        content: [
          { type: "text", text: "<system-reminder>\nno\n</system-reminder>" },
          { type: "text", text: "one" },
        ],
      },
    ];
    const second = [...first, ...(await exchange(server, first))];
    await ask(server, second);
    await ask(server, second);
    const results = second.at(-1)?.content ?? [];
    await ask(server, [...second.slice(0, 2), { role: "user", content: [...results, { type: "text", text: "two" }] }]);
    expect(server.requests.map((each) => each.conversation)).toEqual([
      conversation({ sessionKey: "7", prompt: "one" }),
      conversation({ sessionKey: "7", prompt: "one", turn: 1, requestIndex: 1 }),
      conversation({ sessionKey: "7", prompt: "one", turn: 1, attempt: 1, requestIndex: 2 }),
      conversation({ sessionKey: "7", prompt: "two", promptIndex: 1, requestIndex: 3 }),
    ]);
  });

  it("gives the actions of a turn one by one before it asks the script again", async () => {
    const turns: Turn[] = [{ text: "hm", actions: [{ bash: "true" }, { write: { path: "a", content: "b" } }] }, { text: "end" }];
    const server = await serve(({ turn }) => turns[turn] ?? {});
    const messages: Message[] = [{ role: "user", content: [{ type: "text", text: "go" }] }];
    for (let i = 0; i < 3; i++) messages.push(...(await exchange(server, messages)));
    expect(messages.filter((each) => each.role === "assistant").map((each) => each.content)).toMatchObject([
      [
        { type: "text", text: "hm" },
        { name: "bash", input: { command: "true" } },
      ],
      [{ name: "write", input: { path: "a", content: "b" } }],
      [{ type: "text", text: "end" }],
    ]);
    expect(server.requests.map((each) => each.conversation?.turn)).toEqual([0, undefined, 1]);
  });

  it("turns an error of the script into a failed request with its message", async () => {
    const response = await ask(await serve(scenario([])), [{ role: "user", content: "what?" }]);
    expect([response.status, await response.json()]).toEqual([
      400,
      { type: "error", error: { type: "invalid_request_error", message: 'no rule of the scenario fits the prompt "what?"' } },
    ]);
  });

  it("fails as told: a status with headers, a cut connection, a cut stream", async () => {
    const server = await serve(
      scenario([
        {
          when: /go/,
          turns: [
            { status: 429, headers: { "retry-after": "3" }, times: 1 },
            { drop: "before", times: 1 },
            { drop: "midstream", times: 1 },
          ],
        },
      ]),
    );
    const go = [{ role: "user", content: "go" }];
    const limited = await ask(server, go);
    expect([limited.status, limited.headers.get("retry-after"), await limited.json()]).toEqual([
      429,
      "3",
      { type: "error", error: { type: "rate_limit_error", message: "scripted failure 429" } },
    ]);
    await expect(ask(server, go)).rejects.toThrow("fetch failed");
    const cut = await ask(server, go);
    expect(cut.status).toBe(200);
    await expect(cut.text()).rejects.toThrow("terminated");
  });

  it("holds a request until the script resolves or the server closes", async () => {
    const gate = Promise.withResolvers<void>();
    const server = await serve(async ({ prompt }) => {
      if (prompt === "hang") return { hang: true };
      await gate.promise;
      return { text: "late" };
    });
    const held = ask(server, [{ role: "user", content: "hold" }]);
    const hung = expect(ask(server, [{ role: "user", content: "hang" }])).rejects.toThrow("fetch failed");
    gate.resolve();
    expect(await (await held).json()).toMatchObject({ content: [{ type: "text", text: "late" }], stop_reason: "end_turn" });
    await server.close();
    await hung;
  });
});
