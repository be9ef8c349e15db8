import type { Ticket } from "../domain/ticket.ts";

/** What an agent that got nowhere is told in the conversation in which it did; "" where nothing of that kind was seen. */
export function nudgeText({ stuck, feedback }: Pick<Ticket, "stuck" | "feedback">, phase: string): string {
  if (stuck === null) return "";
  const found = stuck.phase !== phase && Object.hasOwn(feedback, stuck.phase) ? feedback[stuck.phase] : undefined;
  return `Your work on this task is not getting anywhere. What was seen:

${stuck.evidence}
${found === undefined ? "" : `\n${found}\n`}
Do not go on like that. Say first, in a few sentences, why it does not work, and look at \`git status\` and \`git diff\`. Then do something else that solves the task as it was given, and finish it.

`;
}

/** What comes before the task where an agent begins anew because it got nowhere; "" where it did not. */
export function anewText({ stuck }: Pick<Ticket, "stuck">): string {
  if (stuck === null) return "";
  return `Earlier work on the task below did not get anywhere. What was seen:

${stuck.evidence}

The worktree may hold what was tried: look at \`git status\`, \`git log\` and \`git diff\` first. Do not try the same once more: find out why it failed and take a different approach, even if that means to undo some of it.

`;
}
