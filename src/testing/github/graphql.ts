import { GraphQLError } from "graphql";
import { findIssue, type GithubState, type IssueState } from "./state.ts";

interface PageArgs {
  first?: number;
  after?: string | null;
}

/** GitHub's rules for pages: a size is a must, and 100 the most. */
function connection<T>(items: readonly T[], { first, after }: PageArgs) {
  if (first === undefined || first < 1 || first > 100) throw new GraphQLError(`\`first\` has to be 1 to 100, not ${first}.`);
  const start = after ? Number(Buffer.from(after, "base64").toString().replace("cursor:", "")) : 0;
  const nodes = items.slice(start, start + first);
  const end = start + nodes.length;
  return {
    totalCount: items.length,
    nodes,
    pageInfo: {
      hasNextPage: end < items.length,
      hasPreviousPage: start > 0,
      endCursor: nodes.length > 0 ? Buffer.from(`cursor:${end}`).toString("base64") : null,
    },
  };
}

/** What GitHub's GraphQL answers from a state: a root value, whose objects and methods the executor holds against the schema. */
export function graphqlRoot(state: GithubState) {
  function repository(args: { owner: string; name: string }) {
    const nameWithOwner = `${args.owner}/${args.name}`;
    const found = state.repositories.get(nameWithOwner);
    if (!found) {
      throw new GraphQLError(`Could not resolve to a Repository with the name '${nameWithOwner}'.`, { extensions: { type: "NOT_FOUND" } });
    }
    if (found.forbidden)
      throw new GraphQLError("Resource protected by organization SAML enforcement.", { extensions: { type: "FORBIDDEN" } });
    const issues = [...found.issues.values()];
    return {
      nameWithOwner,
      issues: ({ states, ...page }: PageArgs & { states?: string[] }) =>
        connection(
          issues.filter((one) => !states || states.includes(one.state)).map((one) => issue(nameWithOwner, one)),
          page,
        ),
      issue({ number }: { number: number }) {
        const one = found.issues.get(number);
        if (one) return issue(nameWithOwner, one);
        const extensions = { type: "NOT_FOUND" };
        throw new GraphQLError(`Could not resolve to an Issue with the number of ${number}.`, { extensions });
      },
    };
  }

  function issue(nameWithOwner: string, one: IssueState): object {
    const id = `${nameWithOwner}#${one.number}`;
    return {
      __typename: "Issue",
      ...one,
      id,
      url: `https://github.localhost/${nameWithOwner}/issues/${one.number}`,
      repository: { nameWithOwner },
      milestone: one.milestone === null ? null : { title: one.milestone },
      labels: (page: PageArgs) =>
        connection(
          one.labels.map((name) => ({ name })),
          page,
        ),
      blockedBy(page: PageArgs) {
        const blockers = one.blockedBy.flatMap((other) => findIssue(state, other) ?? []);
        return connection(
          blockers.map(({ repository: { owner, name }, issue: blocker }) => issue(`${owner}/${name}`, blocker)),
          page,
        );
      },
      comments: (page: PageArgs) =>
        connection(
          one.comments.map(({ author, ...comment }) => ({ ...comment, viewerDidAuthor: author === state.viewer })),
          page,
        ),
    };
  }

  function existing(id: string) {
    const found = findIssue(state, id);
    if (found) return found.issue;
    throw new GraphQLError(`Could not resolve to a node with the global id of '${id}'`, { extensions: { type: "NOT_FOUND" } });
  }

  return {
    repository,
    search({ query, ...page }: PageArgs & { query: string }) {
      const found = [...state.repositories].flatMap(([name, { issues }]) =>
        [...issues.values()].filter((one) => matches(query, name, one)).map((one) => issue(name, one)),
      );
      return { issueCount: found.length, ...connection(found.slice(0, 1000), page) };
    },
    addComment({ input }: { input: { subjectId: string; body: string } }) {
      const { comments } = existing(input.subjectId);
      const comment = { id: `${input.subjectId}/comment-${comments.length + 1}`, author: state.viewer, body: input.body };
      comments.push(comment);
      return { commentEdge: { node: comment } };
    },
    updateIssueComment({ input }: { input: { id: string; body: string } }) {
      const comment = existing(input.id.split("/comment-")[0] ?? "").comments.find(({ id }) => id === input.id);
      if (comment?.author !== state.viewer) throw new GraphQLError("not yours", { extensions: { type: "FORBIDDEN" } });
      comment.body = input.body;
      return { issueComment: comment };
    },
    closeIssue({ input }: { input: { issueId: string; stateReason: "COMPLETED" } }) {
      const closed = existing(input.issueId);
      closed.state = "CLOSED";
      closed.stateReason = input.stateReason;
      return { issue: { state: closed.state } };
    },
  };
}

/** As much of GitHub's search as is asked of it: qualifiers, all of which have to hold, and words of the title. */
function matches(query: string, repository: string, issue: IssueState): boolean {
  const words = query.match(/\w+:"(?:\\"|[^"])*"|\S+/g) ?? [];
  return words.every((word) => {
    const [, key, quoted] = /^(\w+):(.+)$/s.exec(word) ?? [];
    const value = (quoted ?? "").replace(/^"(.*)"$/s, "$1").replaceAll('\\"', '"');
    if (key === "repo") return value === repository;
    if (key === "is") return value === "issue" || value === issue.state.toLowerCase();
    if (key === "label") return issue.labels.includes(value);
    if (key === "milestone") return issue.milestone === value;
    if (key === "sort") return true;
    if (key) throw new GraphQLError(`the loopback GitHub does not know ${key}: in a search`);
    return issue.title.includes(word);
  });
}
