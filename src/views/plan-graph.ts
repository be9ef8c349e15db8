/** A ticket as a drawing shows it. */
export interface PlanNode {
  id: string;
  title: string;
  /** Absent of a plan that is not written yet. */
  status?: string;
  blockedBy: readonly string[];
}

/** Draws what waits for what as a tree for a terminal, or in the language of Mermaid or Graphviz. Ends in a newline. */
export function planGraph(planId: string, nodes: readonly PlanNode[], format: "text" | "mermaid" | "dot"): string {
  return `${{ text, mermaid, dot }[format](planId, nodes).join("\n")}\n`;
}

function text(planId: string, nodes: readonly PlanNode[]): string[] {
  const ids = new Set(nodes.map(({ id }) => id));
  const shown = new Set<string>();
  const lines = [planId];
  const draw = (node: PlanNode, before: string, isLast: boolean) => {
    shown.add(node.id);
    // A ticket stands below the last one that it waits for; the others are named.
    const others = node.blockedBy.filter((id) => id !== parentOf(node, ids));
    const also = others.length > 0 ? `  (after ${others.join(", ")}, too)` : "";
    lines.push(`${before}${isLast ? "└─ " : "├─ "}${node.id}${node.status ? `  ${node.status}` : ""}  ${node.title}${also}`);
    const below = nodes.filter((other) => parentOf(other, ids) === node.id && !shown.has(other.id));
    for (const [i, child] of below.entries()) draw(child, `${before}${isLast ? "   " : "│  "}`, i === below.length - 1);
  };
  const roots = nodes.filter((node) => parentOf(node, ids) === undefined);
  for (const [i, root] of roots.entries()) draw(root, "", i === roots.length - 1);
  const left = nodes.filter(({ id }) => !shown.has(id));
  if (left.length > 0)
    lines.push("", "These wait for each other in a circle:", ...left.map(({ id, blockedBy }) => `  ${id} after ${blockedBy.join(", ")}`));
  return lines;
}

function parentOf({ blockedBy }: PlanNode, ids: ReadonlySet<string>): string | undefined {
  return blockedBy.findLast((id) => ids.has(id));
}

function mermaid(_planId: string, nodes: readonly PlanNode[]): string[] {
  const names = new Map(nodes.map(({ id }, i) => [id, `t${i}`]));
  const label = ({ id, title, status }: PlanNode) => [id, title, ...(status ? [`<i>${status}</i>`] : [])].map(escapeHtml).join("<br/>");
  return [
    "flowchart LR",
    ...nodes.map((node) => `  ${names.get(node.id)}["${label(node)}"]`),
    ...nodes.flatMap(({ id, blockedBy }) => blockedBy.flatMap((on) => (names.has(on) ? [`  ${names.get(on)} --> ${names.get(id)}`] : []))),
  ];
}

/** Of the tags only ours stay; a quote would end the label. */
function escapeHtml(words: string): string {
  return /^<i>\w+<\/i>$/.test(words) ? words : words.replace(/[<>"&#]/g, (char) => `#${char.charCodeAt(0)};`).replace(/\s+/g, " ");
}

function dot(planId: string, nodes: readonly PlanNode[]): string[] {
  const quote = (words: string) => `"${words.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
  const known = new Set(nodes.map(({ id }) => id));
  return [
    `digraph ${quote(planId)} {`,
    "  rankdir=LR;",
    ...nodes.map(
      ({ id, title, status }) => `  ${quote(id)} [shape=box, label=${quote([id, title, ...(status ? [status] : [])].join("\n"))}];`,
    ),
    ...nodes.flatMap(({ id, blockedBy }) => blockedBy.filter((on) => known.has(on)).map((on) => `  ${quote(on)} -> ${quote(id)};`)),
    "}",
  ];
}
