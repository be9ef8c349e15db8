import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { execute, type GraphQLError, type GraphQLSchema, parse, validate } from "graphql";
import { onTestFinished } from "vitest";
import { tempDir } from "../temp.ts";
import { realGh } from "./gh.ts";
import { graphqlRoot } from "./graphql.ts";
import { githubSchema } from "./schema.ts";
import { type GithubState, githubState } from "./state.ts";

/** What goes wrong instead of an answer; with `late`, only after the request has had its effect. "none": nothing does. */
export type Fault = { status: number; headers?: Record<string, string>; body: string; late?: true } | "hang" | "hang up" | "none";

/** A loopback GitHub, and what a program needs to reach it through the real gh. */
export interface Github {
  state: GithubState;
  /** For gh: its host, its sign-in, and folders of its own for all that it keeps. */
  env: NodeJS.ProcessEnv;
  /** `method path` of every request so far, in order. */
  requests: string[];
  /** Lets the next requests fail, each in its way. */
  failNext(...faults: Fault[]): void;
  /** Lets every request fail from now on. */
  failAlways(fault: Fault): void;
}

/** Starts a GitHub on 127.0.0.1 for the running test. gh reaches it as a proxy for the host github.localhost. */
export async function startGithub(options: { dependencies?: boolean } = {}): Promise<Github> {
  const state = githubState();
  const schema = cachedSchema(options.dependencies ?? true);
  const requests: string[] = [];
  const faults: Fault[] = [];
  let always: Fault | undefined;

  const routes: Record<string, (body: string) => Promise<object>> = {
    "POST /graphql": (body) => graphql(schema, state, body),
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://api.github.localhost");
    const body = await text(request);
    requests.push(`${request.method} ${pathname}`);
    const next = always ?? faults.shift();
    const fault = next === "none" ? undefined : next;
    if (fault === "hang") return;
    if (fault === "hang up") return void request.socket.destroy();
    if (fault && !fault.late) return send(response, fault.status, fault.body, fault.headers);
    if (!request.headers.authorization?.endsWith(` ${state.token}`))
      return send(response, 401, JSON.stringify({ message: "Bad credentials" }));
    const route = routes[`${request.method} ${pathname}`];
    if (!route) return send(response, 404, JSON.stringify({ message: `Not Found: ${request.method} ${pathname}` }));
    const answer = JSON.stringify(await route(body));
    if (fault) send(response, fault.status, fault.body, fault.headers);
    else send(response, 200, answer);
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => send(response, 500, JSON.stringify({ message: String(error) })));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return {
    state,
    env: ghEnv(await realGh(), port, state.token),
    requests,
    failNext: (...next) => void faults.push(...next),
    failAlways: (fault) => {
      always = fault;
    },
  };
}

/**
 * gh takes github.localhost for GitHub itself, spoken to without TLS. Go asks a proxy for every host but the exact name "localhost",
 * unless NO_PROXY says otherwise; the other proxy leads nowhere, so that nothing leaves the machine by mistake.
 */
function ghEnv(program: string, port: number, token: string): NodeJS.ProcessEnv {
  const home = tempDir();
  return {
    PATH: `${dirname(program)}:/usr/bin:/bin`,
    HOME: home,
    XDG_CACHE_HOME: join(home, "cache"),
    TMPDIR: home,
    GH_CONFIG_DIR: join(home, "gh"),
    GH_HOST: "github.localhost",
    GH_TOKEN: token,
    http_proxy: `http://127.0.0.1:${port}`,
    https_proxy: "http://127.0.0.1:9",
    NO_PROXY: "",
    no_proxy: "",
  };
}

const schemas = new Map<boolean, GraphQLSchema>();

/** Reading the schema takes a while; a test file does it once. */
function cachedSchema(dependencies: boolean): GraphQLSchema {
  const schema = schemas.get(dependencies) ?? githubSchema({ dependencies });
  schemas.set(dependencies, schema);
  return schema;
}

async function graphql(schema: GraphQLSchema, state: GithubState, body: string): Promise<object> {
  const { query, variables } = JSON.parse(body);
  const document = parse(query);
  const wrong = validate(schema, document);
  if (wrong.length > 0) return { errors: wrong.map(told) };
  const { data, errors } = await execute({ schema, document, rootValue: graphqlRoot(state), variableValues: variables });
  return { data, ...(errors ? { errors: errors.map(told) } : {}) };
}

/** An error in GitHub's form and words. */
function told({ message, path, extensions }: GraphQLError): object {
  const unknown = /^Cannot query field "(\w+)" on type "(\w+)"/.exec(message);
  return {
    message: unknown ? `Field '${unknown[1]}' doesn't exist on type '${unknown[2]}'` : message,
    ...(path ? { path } : {}),
    ...(extensions.type ? { type: extensions.type } : {}),
  };
}

function send(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  const type = body.startsWith("<") ? "text/html" : "application/json; charset=utf-8";
  response.writeHead(status, { "content-type": type, "x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4990", ...headers });
  response.end(body);
}
