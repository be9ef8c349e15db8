/** The agent CLIs that the model server understands. */
export type Cli = "claude" | "codex" | "pi";

/** What a script knows about the request it answers. All of it is read from the request, except the two counters. */
export interface Conversation {
  cli: Cli;
  /**
   * One session of the CLI. claude and codex send their session id, which stays the same over a resume; pi sends none, so for pi
   * this names the process.
   */
  sessionKey: string;
  /** The last prompt, without what the CLI adds around it. */
  prompt: string;
  /** How many prompts the conversation held before this one: 0 in a new session, 1 after its first resume. */
  promptIndex: number;
  /** How many turns of the model followed the prompt so far: 0 is the first answer, 1 comes after the first tool results. */
  turn: number;
  /** How often exactly this turn was asked for before, by the same session: above 0 after failures. */
  attempt: number;
  /** How often the script was asked before this. */
  requestIndex: number;
}

/**
 * Something the CLI is made to do with its own tools. A relative path starts at the CLI's working directory. codex does not wait for a
 * command longer than 30 s: it runs on while the next turn is asked for.
 */
export type Action =
  | { write: { path: string; content: string } }
  | { bash: string }
  /** A tool of an MCP server or of the program that the CLI is part of, whatever the CLI puts before its name. */
  | { tool: string; input: unknown };

/**
 * What the model says and does before it is asked again. Actions run strictly one after the other, each an answer of its own. Without
 * any the CLI takes the text as final and exits.
 */
export interface Turn {
  text?: string;
  actions?: readonly Action[];
  /** What each answer claims to have used; 100 input and 10 output tokens unless given. */
  usage?: { inputTokens: number; outputTokens: number };
}

/** An answer that is no answer. */
export type Failure =
  /** An HTTP error. Without a body it has the shape the provider uses for that status. */
  | { status: number; headers?: Readonly<Record<string, string>>; body?: unknown }
  /** The request is accepted and never answered. */
  | { hang: true }
  /** The connection is cut before the first byte of the answer, or in the middle of its stream. */
  | { drop: "before" | "midstream" };

/** Decides what the model answers. A promise holds the CLI in its request until it resolves. */
export type Script = (conversation: Conversation) => Turn | Failure | Promise<Turn | Failure>;

/** A failure inside a list of turns: met `times` times before the turn after it is given; for ever without `times`. */
type Step = Turn | (Failure & { times?: number });

/** What a kind of prompt leads to. */
export interface Rule {
  when: RegExp;
  /** The answers in order, or a function from the match of `when` that gives them. After the last one the text "Done." ends the run. */
  turns: readonly Step[] | ((match: RegExpMatchArray, conversation: Conversation) => readonly Step[]);
  /** The rule serves that many prompts, then later rules get their chance: a first FAIL, then PASS. */
  times?: number;
}

/** True for a step that is a failure. */
export function isFailure(step: Turn | Failure): step is Failure {
  return "status" in step || "hang" in step || "drop" in step;
}

/**
 * A script that picks the first rule whose pattern occurs in the prompt and keeps to it until that prompt is done.
 * Throws when no rule fits; the server then answers 400 with the message, which every CLI prints.
 */
export function scenario(rules: readonly Rule[]): Script {
  const chosen = new Map<string, Rule>();
  const served = new Map<Rule, number>();
  return (conversation) => {
    const key = `${conversation.sessionKey} ${conversation.promptIndex}`;
    let rule = chosen.get(key);
    if (!rule) {
      rule = rules.find((each) => conversation.prompt.search(each.when) >= 0 && (served.get(each) ?? 0) < (each.times ?? Infinity));
      if (!rule) throw new Error(`no rule of the scenario fits the prompt ${JSON.stringify(conversation.prompt.slice(0, 200))}`);
      chosen.set(key, rule);
      served.set(rule, (served.get(rule) ?? 0) + 1);
    }
    const steps = typeof rule.turns === "function" ? rule.turns(matchOf(rule.when, conversation.prompt), conversation) : rule.turns;
    return stepAt(steps, conversation.turn, conversation.attempt);
  };
}

/** The failures right before a turn are spent one by one by the attempts at it, then the turn itself is given. */
function stepAt(steps: readonly Step[], turn: number, attempt: number): Turn | Failure {
  let turnsBefore = 0;
  let attemptsLeft = attempt;
  for (const step of steps) {
    if (!isFailure(step)) {
      if (turnsBefore === turn) return step;
      turnsBefore++;
    } else if (turnsBefore === turn) {
      const { times = Infinity, ...failure } = step;
      if (attemptsLeft < times) return failure;
      attemptsLeft -= times;
    }
  }
  return { text: "Done." };
}

function matchOf(pattern: RegExp, prompt: string): RegExpMatchArray {
  const match = prompt.match(new RegExp(pattern.source, pattern.flags.replace("g", "")));
  if (!match) throw new Error(`${pattern} fits the prompt no longer`);
  return match;
}
