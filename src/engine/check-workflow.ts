import { didYouMean, type Problem } from "../domain/errors.ts";
import { defaultMaxVisits, type FlatPhase, type Phase, resumedPhase, retryEdge } from "../domain/workflow.ts";

type AnyPhase = Phase | FlatPhase;
type Path = (string | number)[];
interface Edge {
  from: number;
  kind: "success" | "failure";
  target: string;
  path: Path;
}

/** Problems of a workflow's graph, each with its path inside the file (`phases[2].onSuccess`). */
export function checkWorkflow(workflow: { phases: readonly AnyPhase[] }): Problem[] {
  const { phases } = workflow;
  const index = new Map<string, number>();
  for (const [i, phase] of phases.entries()) if (!index.has(phase.id)) index.set(phase.id, i);
  const edges = edgesOf(phases);
  const reachable = reachableFrom(0, phases.length, edges, index);
  return [
    ...duplicateIds(phases, index),
    ...edges.flatMap((edge) => edgeProblem(edge, phases, index)),
    ...unreachable(phases, reachable, index),
    ...ends(phases, reachable),
    ...cycles(phases, edges, index),
    ...phases.flatMap(phaseProblems),
    ...phases.flatMap((phase, i) => sessionProblem(phase, i, phases)),
  ];
}

function edgesOf(phases: readonly AnyPhase[]): Edge[] {
  return phases.flatMap((phase, from) => {
    const edges: Edge[] = [];
    if ("onSuccess" in phase && phase.onSuccess)
      edges.push({ from, kind: "success", target: phase.onSuccess, path: ["phases", from, "onSuccess"] });
    if ("onFailure" in phase && phase.onFailure)
      edges.push({ from, kind: "failure", target: phase.onFailure, path: ["phases", from, "onFailure"] });
    for (const [category, target] of Object.entries(("on" in phase && phase.on) || {})) {
      edges.push({ from, kind: "failure", target, path: ["phases", from, "on", category] });
    }
    return edges;
  });
}

function duplicateIds(phases: readonly AnyPhase[], index: Map<string, number>): Problem[] {
  return phases.flatMap(({ id }, i): Problem[] => {
    const path = ["phases", i, "id"];
    if (id === retryEdge) {
      return [
        {
          severity: "error",
          rule: "reserved-id",
          path,
          message: `"${retryEdge}" is a reserved edge, not a phase id`,
          fix: "choose another id",
        },
      ];
    }
    const first = index.get(id);
    if (first === undefined || first === i) return [];
    return [
      {
        severity: "error",
        rule: "duplicate-id",
        path,
        other: ["phases", first, "id"],
        message: `the id "${id}" is used twice`,
        fix: "rename one of the two phases",
      },
    ];
  });
}

function edgeProblem({ from, kind, target, path }: Edge, phases: readonly AnyPhase[], index: Map<string, number>): Problem[] {
  const phase = phases[from];
  const retries = phase && "maxRetries" in phase ? phase.maxRetries : 0;
  if (target === retryEdge) {
    if (kind === "success" || path[2] !== "onFailure" || phase?.type === "workflow") {
      return [
        {
          severity: "error",
          rule: "reserved-edge",
          path,
          message: `"${retryEdge}" is allowed for onFailure of a phase that runs, and nowhere else`,
          fix: "name a phase",
        },
      ];
    }
    return retries > 0 ? [] : [pointlessRetry(path, `"onFailure: ${retryEdge}" with maxRetries 0 runs nothing again`)];
  }
  if (!index.has(target)) {
    const known = [...index.keys()].filter((id) => !id.startsWith("#"));
    const near = didYouMean(target, known);
    const fix = near === undefined ? "name one of these, or leave the edge out" : `did you mean "${near}"?`;
    return [
      { severity: "error", rule: "dangling-edge", path, message: `there is no phase "${target}" (phases: ${known.join(", ")})`, fix },
    ];
  }
  if (kind === "failure" && target === phase?.id && retries === 0) {
    return [pointlessRetry(path, "the phase is its own failure edge with maxRetries 0, so it runs nothing again")];
  }
  return [];
}

function pointlessRetry(path: Path, message: string): Problem {
  return {
    severity: "warning",
    rule: "pointless-retry",
    path,
    message,
    fix: "set maxRetries to the number of extra runs, or name another phase",
  };
}

function reachableFrom(start: number, count: number, edges: Edge[], index: Map<string, number>): Set<number> {
  const seen = new Set<number>(count > 0 ? [start] : []);
  for (const at of seen) {
    for (const edge of edges) {
      const to = edge.from === at ? index.get(edge.target) : undefined;
      if (to !== undefined) seen.add(to);
    }
  }
  return seen;
}

function unreachable(phases: readonly AnyPhase[], reachable: Set<number>, index: Map<string, number>): Problem[] {
  return phases.flatMap((phase, i): Problem[] => {
    // A second phase of the same id is reported as that.
    if (reachable.has(i) || index.get(phase.id) !== i) return [];
    const path = ["phases", i, "id"];
    const message = `no edge leads to "${phase.id}" from "${phases[0]?.id}", where a ticket starts`;
    return [
      { severity: "error", rule: "unreachable-phase", path, message, fix: "lead an onSuccess or onFailure edge to it, or remove it" },
    ];
  });
}

/** An edge that is missing ends a ticket too: success completes it, failure fails it. */
function ends(phases: readonly AnyPhase[], reachable: Set<number>): Problem[] {
  const live = phases.filter((_, i) => reachable.has(i));
  if (live.some((phase) => phase.type === "terminal")) return [];
  const implicit = live.some((phase) => !("onSuccess" in phase) || !phase.onSuccess);
  const fix = "add a phase {id: complete, type: terminal} and lead onSuccess of the last phase to it";
  if (!implicit)
    return [{ severity: "error", rule: "no-terminal", path: ["phases"], message: "no path through this workflow ever ends", fix }];
  return [
    {
      severity: "warning",
      rule: "no-terminal",
      path: ["phases"],
      message: "no terminal phase is reached; tickets end where an edge is missing",
      fix,
    },
  ];
}

/** A cycle without an explicit maxVisits: of success edges alone it is a mistake, through a failure edge it is a loop bounded by the default. */
function cycles(phases: readonly AnyPhase[], edges: Edge[], index: Map<string, number>): Problem[] {
  const bounded = (i: number | undefined) => {
    const phase = i === undefined ? undefined : phases[i];
    return phase !== undefined && "maxVisits" in phase && phase.maxVisits !== undefined;
  };
  const inner = edges.flatMap((edge) => {
    const to = index.get(edge.target);
    const self = to === edge.from && edge.kind === "failure";
    return to === undefined || self || bounded(edge.from) || bounded(to) ? [] : [{ from: edge.from, to, kind: edge.kind }];
  });
  const names = (cycle: number[]) => [...cycle, cycle[0] ?? 0].map((i) => phases[i]?.id).join(" → ");
  const certain = cyclesIn(
    inner.filter((edge) => edge.kind === "success"),
    phases.length,
  );
  const known = new Set(certain.flat());
  const loops = cyclesIn(
    inner.filter((edge) => !(known.has(edge.from) && known.has(edge.to))),
    phases.length,
  );
  return [
    ...certain.map(
      (cycle): Problem => ({
        severity: "error",
        rule: "unbounded-cycle",
        path: ["phases", cycle[0] ?? 0, "id"],
        message: `success leads round in a circle: ${names(cycle)}`,
        fix: "set maxVisits on a phase of the circle, or lead one of its edges out",
      }),
    ),
    ...loops.map(
      (cycle): Problem => ({
        severity: "warning",
        rule: "default-bound",
        path: ["phases", cycle[0] ?? 0, "id"],
        message: `the loop ${names(cycle)} has no maxVisits; the default of ${defaultMaxVisits} visits per phase bounds it`,
        fix: "set maxVisits on a phase of the loop",
      }),
    ),
  ];
}

/** One cycle of every group of phases that reach each other, beginning with the phase that comes first in the file. */
function cyclesIn(edges: { from: number; to: number }[], count: number): number[][] {
  const found: number[][] = [];
  const used = new Set<number>();
  for (let start = 0; start < count; start++) {
    if (used.has(start)) continue;
    const cycle = shortestWayBack(start, edges);
    if (cycle === undefined) continue;
    found.push(cycle);
    for (const i of cycle) used.add(i);
  }
  return found;
}

function shortestWayBack(start: number, edges: { from: number; to: number }[]): number[] | undefined {
  const cameFrom = new Map<number, number>();
  const queue = [start];
  for (const at of queue) {
    for (const { to } of edges.filter((edge) => edge.from === at)) {
      if (to === start) {
        const way = [at];
        for (let i = at; i !== start; ) {
          i = cameFrom.get(i) ?? start;
          way.unshift(i);
        }
        return way;
      }
      if (!cameFrom.has(to)) {
        cameFrom.set(to, at);
        queue.push(to);
      }
    }
  }
  return undefined;
}

/** A conversation can be gone on with where an agent's phase of that name is, and the same agent works. */
function sessionProblem(phase: AnyPhase, i: number, phases: readonly AnyPhase[]): Problem[] {
  const target = phase.type === "agent" ? resumedPhase(phase.session) : undefined;
  if (phase.type !== "agent" || target === undefined) return [];
  const problem = (message: string, fix: string): Problem[] => [
    { severity: "error", rule: "session", path: ["phases", i, "session"], message, fix },
  ];
  // Which phases an included workflow has shows once it is expanded.
  if (phases.some(({ id, type }) => type === "workflow" && target.startsWith(`${id}.`))) return [];
  const other = phases.find(({ id }) => id === target);
  if (other?.type !== "agent") {
    const agents = phases.flatMap((each) => (each.type === "agent" && each.id !== phase.id ? [each.id] : []));
    const what = other === undefined ? "there is no phase" : "no agent works in phase";
    const near = didYouMean(target, agents);
    const fix =
      near === undefined ? `name one of ${agents.join(", ") || "(there is none)"}, or leave session out` : `did you mean "${near}"?`;
    return problem(`${what} "${target}" whose conversation could be resumed`, fix);
  }
  if (phase.agent && other.agent && phase.agent !== other.agent) {
    return problem(`"${target}" is worked by agent "${other.agent}", this phase by "${phase.agent}"`, "give both phases the same agent");
  }
  return [];
}

function phaseProblems(phase: AnyPhase, i: number): Problem[] {
  const problems: Problem[] = [];
  const error = (rule: string, field: string, message: string, fix: string) =>
    problems.push({ severity: "error", rule, path: ["phases", i, field], message, fix });
  if (phase.type === "agent" && phase.readOnly && phase.changes === "required") {
    error(
      "contradiction",
      "changes",
      "a readOnly phase cannot leave the change that is required of it",
      "remove readOnly, or changes: required",
    );
  }
  if (phase.type === "agent" && phase.outputSchema !== undefined && phase.verdict !== undefined) {
    const { properties } = phase.outputSchema;
    const asks = typeof properties === "object" && properties !== null && ("verdict" in properties || "passed" in properties);
    if (phase.verdict !== "json" || !asks) {
      error(
        "contradiction",
        "verdict",
        `the final message cannot be JSON by outputSchema and nothing else, and hold a verdict of the form "${phase.verdict}"`,
        'set verdict: json and let outputSchema have the properties "verdict", "summary" and "findings", or remove one of the two',
      );
    }
  }
  if (phase.type === "poll" && phase.timeoutSeconds !== undefined) {
    const limit = phase.timeoutSeconds;
    const message = (name: string, value: number) =>
      `${name} ${value} is longer than timeoutSeconds ${limit}, so the poll gives up before its second look`;
    if ((phase.intervalSeconds ?? 0) > limit) {
      error(
        "poll-interval",
        "intervalSeconds",
        message("intervalSeconds", phase.intervalSeconds ?? 0),
        "shorten the interval, or lengthen timeoutSeconds",
      );
    }
  }
  return problems;
}
