import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { buildSchema, type DocumentNode, execute, GraphQLError, parse, type SelectionSetNode, validate } from "graphql";
import { onTestFinished } from "vitest";

/** As much of Linear's schema as is asked of it, with the names, arguments and types that its SDK declares. */
const schema = buildSchema(`
  type Query {
    issues(after: String, before: String, filter: IssueFilter, first: Int, includeArchived: Boolean, last: Int): IssueConnection!
    issue(id: String!): Issue!
    teams(after: String, filter: TeamFilter, first: Int): TeamConnection!
    projects(after: String, filter: ProjectFilter, first: Int): ProjectConnection!
  }
  type Mutation {
    issueUpdate(id: String!, input: IssueUpdateInput!): IssuePayload!
    commentCreate(input: CommentCreateInput!): CommentPayload!
  }
  type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
  type Issue {
    id: ID! identifier: String! title: String! description: String url: String! priority: Float!
    state: WorkflowState! team: Team! project: Project cycle: Cycle
    labels(after: String, first: Int): IssueLabelConnection!
    inverseRelations(after: String, first: Int): IssueRelationConnection!
    comments(after: String, filter: CommentFilter, first: Int): CommentConnection!
  }
  type IssueConnection { nodes: [Issue!]! pageInfo: PageInfo! }
  type WorkflowState { id: ID! name: String! type: String! position: Float! }
  type WorkflowStateConnection { nodes: [WorkflowState!]! pageInfo: PageInfo! }
  type Team { id: ID! key: String! name: String! states(after: String, first: Int): WorkflowStateConnection! }
  type TeamConnection { nodes: [Team!]! pageInfo: PageInfo! }
  type Project { id: ID! name: String! }
  type ProjectConnection { nodes: [Project!]! pageInfo: PageInfo! }
  type Cycle { id: ID! number: Float! name: String }
  type IssueLabel { id: ID! name: String! }
  type IssueLabelConnection { nodes: [IssueLabel!]! pageInfo: PageInfo! }
  type IssueRelation { id: ID! type: String! issue: Issue! relatedIssue: Issue! }
  type IssueRelationConnection { nodes: [IssueRelation!]! pageInfo: PageInfo! }
  type Comment { id: ID! body: String! }
  type CommentConnection { nodes: [Comment!]! pageInfo: PageInfo! }
  type IssuePayload { success: Boolean! issue: Issue }
  type CommentPayload { success: Boolean! comment: Comment! }
  input StringComparator { eq: String eqIgnoreCase: String in: [String!] }
  input IDComparator { eq: ID in: [ID!] }
  input NumberComparator { eq: Float }
  input BooleanComparator { eq: Boolean }
  input TeamFilter { key: StringComparator name: StringComparator and: [TeamFilter!] or: [TeamFilter!] }
  input ProjectFilter { name: StringComparator }
  input NullableProjectFilter { name: StringComparator }
  input NullableCycleFilter { isActive: BooleanComparator isNext: BooleanComparator number: NumberComparator name: StringComparator }
  input IssueLabelFilter { name: StringComparator }
  input IssueLabelCollectionFilter { some: IssueLabelFilter every: IssueLabelFilter }
  input WorkflowStateFilter { type: StringComparator }
  input CommentFilter { id: IDComparator }
  input IssueFilter {
    team: TeamFilter project: NullableProjectFilter cycle: NullableCycleFilter labels: IssueLabelCollectionFilter
    state: WorkflowStateFilter and: [IssueFilter!] or: [IssueFilter!]
  }
  input IssueUpdateInput { stateId: String }
  input CommentCreateInput { id: String issueId: String body: String }
`);

export interface LinearIssue {
  identifier: string;
  title: string;
  description: string | null;
  priority: number;
  /** Id of one of the states of its team. */
  state: string;
  project: string | null;
  cycle: { number: number; name: string | null; isActive: boolean; isNext: boolean } | null;
  labels: string[];
  /** Relations to others that point at it. */
  inverseRelations: { type: string; identifier: string }[];
  comments: { id: string; body: string }[];
}

/** Everything that the loopback Linear knows: one team, ENG, with states in an order that is not theirs. */
interface LinearState {
  /** What the Authorization header has to be, to the letter. */
  authorization: string;
  states: { id: string; name: string; type: string; position: number }[];
  projects: string[];
  issues: LinearIssue[];
}

/** What goes wrong instead of an answer; with `late`, only after the request has had its effect. "none": nothing does. */
export type LinearFault = { status: number; headers?: Record<string, string>; body: string; late?: true } | "hang" | "hang up" | "none";

export interface LinearServer {
  state: LinearState;
  /** LINEAR_API_URL and LINEAR_API_KEY. */
  env: NodeJS.ProcessEnv;
  /** Name of the operation and variables of every request so far. */
  requests: { operation: string; variables: Record<string, unknown> }[];
  /** What the dearest query cost by Linear's rules, in points. */
  dearest: number;
  failNext(...faults: LinearFault[]): void;
  failAlways(fault: LinearFault): void;
}

/** Adds an issue that has nothing special but what is given. */
export function addLinearIssue({ state }: LinearServer, issue: Partial<LinearIssue> = {}): LinearIssue {
  const identifier = issue.identifier ?? `ENG-${state.issues.length + 1}`;
  const plain = { title: `Issue ${identifier}`, description: null, priority: 0, state: "todo", project: null, cycle: null };
  const added = { ...plain, labels: [], inverseRelations: [], comments: [], ...issue, identifier };
  state.issues.push(added);
  return added;
}

/** Linear refuses a query that costs more points. */
const mostComplex = 10_000;

/** Starts a Linear on 127.0.0.1 for the running test. */
export async function startLinear(): Promise<LinearServer> {
  const state: LinearState = {
    authorization: "lin_api_loopback",
    states: [
      { id: "review", name: "In Review", type: "started", position: 4 },
      { id: "done", name: "Shipped", type: "completed", position: 5 },
      { id: "doing", name: "Doing", type: "started", position: 3 },
      { id: "todo", name: "Todo", type: "unstarted", position: 2 },
      { id: "backlog", name: "Backlog", type: "backlog", position: 1 },
      { id: "triage", name: "Triage", type: "triage", position: 0 },
      { id: "canceled", name: "Won't do", type: "canceled", position: 6 },
      { id: "duplicate", name: "Duplicate", type: "duplicate", position: 7 },
    ],
    projects: [],
    issues: [],
  };
  const faults: LinearFault[] = [];
  let always: LinearFault | undefined;
  const requests: LinearServer["requests"] = [];

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => send(response, 500, String(error)));
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { query, variables } = JSON.parse(await text(request));
    const document = parse(query);
    const operation = document.definitions.find((one) => one.kind === "OperationDefinition");
    requests.push({ operation: operation?.name?.value ?? "", variables });
    const next = always ?? faults.shift();
    const fault = next === "none" ? undefined : next;
    if (fault === "hang") return;
    if (fault === "hang up") return void request.socket.destroy();
    if (fault && !fault.late) return send(response, fault.status, fault.body, fault.headers);
    if (request.headers.authorization !== state.authorization) {
      const extensions = {
        type: "authentication error",
        code: "AUTHENTICATION_ERROR",
        userPresentableMessage: "You need to authenticate.",
      };
      return send(response, 401, JSON.stringify({ errors: [{ message: "Authentication required, not authenticated", extensions }] }));
    }
    const answer = await answerTo(document, variables);
    if (fault) send(response, fault.status, fault.body, fault.headers);
    else send(response, "errors" in answer ? 400 : 200, JSON.stringify(answer));
  }

  async function answerTo(document: DocumentNode, variables: Record<string, unknown>): Promise<object> {
    const wrong = validate(schema, document);
    if (wrong.length > 0) return { errors: wrong.map(({ message }) => ({ message, extensions: { code: "GRAPHQL_VALIDATION_FAILED" } })) };
    const cost = costOf(document, variables);
    linear.dearest = Math.max(linear.dearest, cost);
    if (cost > mostComplex) {
      const userPresentableMessage = `The query is too complex: ${cost} points of ${mostComplex}.`;
      return { errors: [{ message: "Query too complex", extensions: { code: "INPUT_ERROR", userPresentableMessage } }] };
    }
    const { data, errors } = await execute({ schema, document, rootValue: root(state), variableValues: variables });
    return errors ? { errors: errors.map(({ message, extensions }) => ({ message, extensions })) } : { data };
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  const linear: LinearServer = {
    state,
    env: { LINEAR_API_URL: `http://127.0.0.1:${port}/graphql`, LINEAR_API_KEY: "lin_api_loopback" },
    requests,
    dearest: 0,
    failNext: (...more) => void faults.push(...more),
    failAlways: (fault) => {
      always = fault;
    },
  };
  return linear;
}

function send(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  const type = body.startsWith("<") ? "text/html" : "application/json";
  response.writeHead(status, { "content-type": type, "x-ratelimit-requests-remaining": "1000", ...headers });
  response.end(body);
}

/** Linear's rules: a field is 0.1 points, an object 1, and a list as often as it may be long, 50 where nothing is said. */
function costOf(document: DocumentNode, variables: Record<string, unknown>): number {
  const cost = (set: SelectionSetNode): number =>
    set.selections.reduce((sum, field) => {
      if (field.kind !== "Field") throw new Error("fragments are not counted here");
      if (!field.selectionSet) return sum + 0.1;
      const first = field.arguments?.find(({ name }) => name.value === "first")?.value;
      const isList = field.selectionSet.selections.some((one) => one.kind === "Field" && one.name.value === "nodes");
      const length =
        first?.kind === "IntValue" ? Number(first.value) : first?.kind === "Variable" ? Number(variables[first.name.value]) : 50;
      return sum + (isList ? length : 1) * (1 + cost(field.selectionSet));
    }, 0);
  return document.definitions.reduce((sum, one) => sum + ("selectionSet" in one && one.selectionSet ? cost(one.selectionSet) : 0), 0);
}

interface PageArgs {
  first?: number | null;
  after?: string | null;
}

function connection<T>(items: readonly T[], { first, after }: PageArgs) {
  const start = after ? Number(after) : 0;
  const nodes = items.slice(start, start + (first ?? 50));
  const end = start + nodes.length;
  return {
    nodes,
    pageInfo: { hasNextPage: end < items.length, hasPreviousPage: start > 0, startCursor: String(start), endCursor: String(end) },
  };
}

/** What Linear's GraphQL answers from a state: a root value, whose objects and methods the executor holds against the schema. */
function root(state: LinearState) {
  const team = { id: "team-eng", key: "ENG", name: "Engineering" };

  function existing(id: string): LinearIssue {
    const found = state.issues.find(({ identifier }) => id === identifier || id === `id-${identifier}`);
    if (found) return found;
    throw new GraphQLError("Entity not found: Issue", {
      extensions: { code: "INPUT_ERROR", userPresentableMessage: "Could not find it." },
    });
  }

  function issue(one: LinearIssue): object {
    return {
      ...one,
      id: `id-${one.identifier}`,
      url: `https://linear.app/acme/issue/${one.identifier}`,
      state: state.states.find(({ id }) => id === one.state),
      team: { ...team, states: (page: PageArgs) => connection(state.states, page) },
      project: one.project === null ? null : { id: one.project, name: one.project },
      cycle: one.cycle === null ? null : { id: "cycle", ...one.cycle },
      labels: (page: PageArgs) => connection(labelsOf(one), page),
      inverseRelations(page: PageArgs) {
        const relations = one.inverseRelations.map(({ type, identifier }, i) => ({
          id: String(i),
          type,
          issue: issue(existing(identifier)),
        }));
        return connection(relations, page);
      },
      comments: ({ filter, ...page }: PageArgs & { filter?: object }) =>
        connection(
          one.comments.filter((comment) => holds(filter, comment)),
          page,
        ),
    };
  }

  const labelsOf = (one: LinearIssue) => one.labels.map((name) => ({ id: name, name }));
  /** An issue as filters see it. */
  const facts = (one: LinearIssue) => ({
    team,
    state: state.states.find(({ id }) => id === one.state),
    project: one.project === null ? null : { name: one.project },
    cycle: one.cycle,
    labels: labelsOf(one),
  });

  return {
    issues: ({ filter, ...page }: PageArgs & { filter?: object }) =>
      connection(state.issues.filter((one) => holds(filter, facts(one))).map(issue), page),
    issue: ({ id }: { id: string }) => issue(existing(id)),
    teams: ({ filter, ...page }: PageArgs & { filter?: object }) =>
      connection(
        [team].filter((one) => holds(filter, one)),
        page,
      ),
    projects: ({ filter, ...page }: PageArgs & { filter?: object }) =>
      connection(
        state.projects.map((name) => ({ id: name, name })).filter((one) => holds(filter, one)),
        page,
      ),
    issueUpdate({ id, input }: { id: string; input: { stateId: string } }) {
      const moved = existing(id);
      if (!state.states.some((one) => one.id === input.stateId)) throw new GraphQLError("Entity not found: WorkflowState");
      moved.state = input.stateId;
      return { success: true, issue: issue(moved) };
    },
    commentCreate({ input }: { input: { id: string; issueId: string; body: string } }) {
      const uuid4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
      if (!uuid4.test(input.id)) throw new GraphQLError("id must be a UUID");
      const { comments } = existing(input.issueId);
      const comment = { id: input.id, body: input.body };
      if (comments.some(({ id }) => id === input.id)) throw new GraphQLError("conflict on insert");
      comments.push(comment);
      return { success: true, comment };
    },
  };
}

/** Whether a value is as a filter of Linear's wants it. All that a filter says has to hold; nothing holds of what is not there. */
function holds(filter: unknown, value: unknown): boolean {
  return Object.entries(filter ?? {}).every(([key, wanted]) => {
    if (key === "and") return wanted.every((one: unknown) => holds(one, value));
    if (key === "or") return wanted.some((one: unknown) => holds(one, value));
    if (key === "some") return (value as unknown[]).some((one) => holds(wanted, one));
    if (key === "eq") return value === wanted;
    if (key === "eqIgnoreCase") return String(value).toLowerCase() === wanted.toLowerCase();
    if (key === "in") return wanted.includes(value);
    return value !== null && value !== undefined && holds(wanted, (value as Record<string, unknown>)[key]);
  });
}
