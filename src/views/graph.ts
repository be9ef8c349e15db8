import { type FlatPhase, retryEdge, type Workflow } from "../domain/workflow.ts";

/** An edge of a workflow: what has to happen, and where it leads. */
interface Edge {
  from: string;
  label: "success" | "failure" | string;
  to: string;
}

/** Draws a workflow as text for a terminal, or in the language of Mermaid or Graphviz. Ends in a newline. */
export function workflowGraph(workflow: Workflow, format: "text" | "mermaid" | "dot"): string {
  const lines = { text, mermaid, dot }[format](workflow);
  return `${lines.join("\n")}\n`;
}

function text({ name, description, phases }: Workflow): string[] {
  const width = Math.max(...phases.map((phase) => phase.id.length));
  const head = [`${name}${description ? ` — ${description.replace(/\s+/g, " ").trim()}` : ""}`, ""];
  const body = phases.flatMap((phase, i) => {
    const edges = edgesOf(phase);
    const next = phases[i + 1]?.id;
    const marks = edges.map(({ label, to }) => {
      const sign = label === "success" ? "✓" : label === "failure" ? "✗" : label;
      return `${sign} → ${to === next ? `${to} ↓` : to}`;
    });
    const what = phase.type === "terminal" ? (phase.notify ? "ends, needs a person" : "ends, complete") : marks.join("   ");
    return [`${phase.id.padEnd(width)}  ${phase.type.padEnd(8)}  ${what}${bounds(phase)}`.trimEnd()];
  });
  return [...head, ...body];
}

function bounds(phase: FlatPhase): string {
  const retries = "maxRetries" in phase && phase.maxRetries > 0 ? [`${phase.maxRetries} retries`] : [];
  const visits = "maxVisits" in phase && phase.maxVisits !== undefined ? [`${phase.maxVisits} visits`] : [];
  const all = [...retries, ...visits];
  return all.length === 0 ? "" : `   (at most ${all.join(", ")})`;
}

function mermaid({ phases }: Workflow): string[] {
  const node = new Map(phases.map((phase, i) => [phase.id, `p${i}`]));
  const shapes = phases.map((phase) => {
    const [open, close] = phase.type === "terminal" ? ["([", "])"] : phase.type === "gate" ? ["{", "}"] : ["[", "]"];
    return `  ${node.get(phase.id)}${open}"${phase.id}<br/><i>${phase.type}</i>"${close}`;
  });
  const edges = phases.flatMap(edgesOf).map(({ from, label, to }) => {
    const arrow = label === "success" ? "-->" : `-. ${label} .->`;
    return `  ${node.get(from)} ${arrow} ${node.get(to) ?? `missing["${to}?"]`}`;
  });
  return ["flowchart TD", ...shapes, ...edges];
}

function dot({ name, phases }: Workflow): string[] {
  const quote = (word: string) => JSON.stringify(word);
  const shapes = phases.map((phase) => {
    const shape = phase.type === "terminal" ? "doublecircle" : phase.type === "gate" ? "diamond" : "box";
    return `  ${quote(phase.id)} [shape=${shape}, label=${quote(`${phase.id}\n${phase.type}`)}];`;
  });
  const edges = phases.flatMap(edgesOf).map(({ from, label, to }) => {
    const style = label === "success" ? "" : ` [style=dashed, label=${quote(label)}]`;
    return `  ${quote(from)} -> ${quote(to)}${style};`;
  });
  return [`digraph ${quote(name)} {`, ...shapes, ...edges, "}"];
}

function edgesOf(phase: FlatPhase): Edge[] {
  if (phase.type === "terminal") return [];
  const edge = (label: string, to: string | null | undefined): Edge[] =>
    to ? [{ from: phase.id, label, to: to === retryEdge ? phase.id : to }] : [];
  const failures =
    phase.type === "wait"
      ? []
      : [...edge("failure", phase.onFailure), ...Object.entries(phase.on ?? {}).flatMap(([on, to]) => edge(on, to))];
  return [...edge("success", phase.onSuccess), ...failures];
}
