import type { Argument, Command, Option } from "./command.ts";

const plan: Argument = { name: "planId", summary: "the plan" };
/** `planId ticketId`, `planId/ticketId`, or a ticket id alone when only one plan has it. */
const ticket: readonly Argument[] = [plan, { name: "ticketId", summary: "the ticket", joinable: true }];
const reason: Option = { flags: "--reason <text>", summary: "why, for whoever looks at it later" };
const strict: Option = { flags: "--strict", summary: "warnings count as errors" };
const yes: Option = { flags: "-y, --yes", summary: "approved without a question" };
const draftFile: Argument = { name: "file", summary: "a plan as YAML or JSON; - reads standard input" };
const fileOrPlan: Argument = { name: "file|plan", summary: "a file, - for standard input, or the id of a plan" };
const none = "none takes it away";
const ticketFields: readonly Option[] = [
  { flags: "-f, --file <path>", summary: "fields as YAML or JSON, as they are in a plan; - reads standard input" },
  { flags: "-t, --title <text>", summary: "the title" },
  { flags: "-d, --description <text>", summary: "what is wrong or missing, why, and what was decided" },
  { flags: "-c, --criterion <text...>", summary: "acceptance criteria, all of them" },
  { flags: "-s, --scope <glob...>", summary: "the files that it is to change, all of them" },
  { flags: "-a, --after <ticket...>", summary: "the tickets that it waits for, all of them" },
  { flags: "--skill <name...>", summary: "skills that its agents are given, all of them" },
  { flags: "-p, --priority <priority>", summary: `P0, P1, P2 or P3; ${none}` },
  { flags: "--type <type>", summary: `feature, bug, refactor, test, docs, chore or spike; ${none}` },
  { flags: "--repo <path>", summary: `the repository, where it is not the plan's; ${none}` },
  { flags: "--workflow <name>", summary: `the workflow, where it is not the plan's; ${none}` },
  { flags: "--branch <name>", summary: `the branch, where it is not to be made from the ids; ${none}` },
  { flags: "--agent <name>", summary: `the agent, where it is not the plan's; ${none}` },
  { flags: "--model <name>", summary: `the model; ${none}` },
  { flags: "--budget <usd>", summary: `what its runs may cost together; ${none}` },
];
const onePhase: Option = { flags: "--phase <phase>", summary: "only this phase" };

/** What groups of commands with two words are about. */
export const groups: Readonly<Record<string, string>> = {
  blueprint: "plans from templates, and templates from plans",
  plan: "write, check, approve, change, review and put away plans",
  service: "have the service manager of this machine keep the daemon running",
  skill: "list and check skills",
  ticket: "add, change and remove tickets of a plan",
  workflow: "list, check, draw and upgrade workflows",
  worktree: "make and remove worktrees, for scripts",
};

/** Options that every command takes. */
export const globalOptions: readonly Option[] = [
  { flags: "-C, --config <path>", summary: "use this configuration file" },
  { flags: "--no-color", summary: "plain text, as with NO_COLOR=1" },
  { flags: "-q, --quiet", summary: "no messages beside the result" },
];

/** The option of commands that answer in JSON. */
export const jsonOption: Option = { flags: "--json", summary: "print JSON; times are RFC 3339 in UTC" };

/** Every command, in the order in which help shows them. */
export const commands: readonly Command[] = [
  {
    name: "init",
    summary: "make the home folder and a configuration",
    options: [{ flags: "-d, --dir <path>", summary: "the folder (default: $ORCHESTRATOR_HOME, else ~/.orchestrator)" }],
    details:
      "Asks nothing and overwrites nothing: it can be run again at any time. The default agent of a new configuration is the first of claude, codex, pi, gemini, copilot and opencode that can be used.",
    examples: ["orchestrator init", "orchestrator init --dir ./orch-home"],
    load: () => import("./init.ts"),
  },
  {
    name: "interactive",
    summary: "plan with an agent, in conversation",
    options: [
      { flags: "-r, --repo <path>", summary: "plan for this repository (default: where you are, or the workspace below)" },
      { flags: "-w, --workflow <name>", summary: "the workflow of plans that name none" },
      { flags: "--worktree-root <path>", summary: "where the worktrees of its plans go" },
      { flags: "--launcher <name>", summary: "who plans: pi (default), claude, codex, or an agent of the configuration" },
      { flags: "--role <name>", summary: "the role that the planner takes: a file of prompts/personas" },
      { flags: "--continue", summary: "go on with the last conversation held here" },
    ],
    details:
      "A plan is written once you have said yes to it, and a daemon takes it from there. PI runs within this program, with a setup of its own: nothing of the repository's or of your own PI setup counts. /login signs in to a provider; keys such as ANTHROPIC_API_KEY count, too. Ends with the code of the agent's program.",
    examples: [
      "orchestrator interactive",
      "orchestrator interactive --repo ~/src/app --launcher claude",
      "orchestrator interactive --continue",
    ],
    load: () => import("./interactive.ts"),
  },
  {
    name: "status",
    summary: "show plans and tickets",
    options: [
      { flags: "-p, --plan <id>", summary: "only this plan" },
      { flags: "-w, --watch", summary: "show it again whenever something changes, until Ctrl-C" },
    ],
    json: true,
    details:
      "Needs no daemon. A plan or ticket whose file cannot be read is shown with the reason, never left out. With --json it prints an array of {id, plan, tickets, problems}; with --plan that one object.",
    examples: ["orchestrator status", "orchestrator status --plan auth --json | jq '.tickets[].status'"],
    load: () => import("./status.ts"),
  },
  {
    name: "why",
    summary: "say why a ticket is where it is, and what changes that",
    arguments: ticket,
    json: true,
    examples: ["orchestrator why auth T-3", "orchestrator why auth/T-3 --json"],
    load: () => import("./why.ts"),
  },
  {
    name: "run",
    summary: "work one ticket until it has ended",
    arguments: ticket,
    details:
      "Without a daemon it works this ticket alone and waits through its polls and gates. With a daemon it follows what the daemon does. Ends with 0 when the ticket is complete, 1 when it failed, 7 when it needs a person. Ctrl-C stops a run of its own so that it can go on later; beside a daemon it only ends the following.",
    examples: ["orchestrator run auth T-3"],
    load: () => import("./run.ts"),
  },
  {
    name: "daemon",
    summary: "work all plans until it is stopped",
    options: [
      { flags: "-c, --concurrency <n>", summary: "runs at once, instead of maxConcurrency", value: { type: "integer", min: 1, max: 64 } },
      { flags: "-a, --agent <name>", summary: "the agent to use where nothing else names one, instead of defaultAgent" },
      { flags: "--detach", summary: "run it in the background and end once it is at work, or has failed" },
    ],
    details:
      "The first Ctrl-C or SIGTERM lets what runs come to its end and starts nothing new; the second stops the runs. Either way the next daemon goes on where this one was. Ends with 4 when a daemon runs already.",
    examples: ["orchestrator daemon", "orchestrator daemon --concurrency 5 --agent codex", "orchestrator daemon --detach"],
    background: true,
    load: () => import("./daemon.ts"),
  },
  {
    name: "stop",
    summary: "end the daemon and wait until it has ended",
    options: [
      { flags: "--now", summary: "stop what runs; the next daemon goes on with it" },
      { flags: "--detach", summary: "end the daemon at once and leave what runs to the next one" },
      { flags: "--timeout <duration>", summary: "wait no longer than this: 90s, 10m, 2h" },
    ],
    details:
      "Without an option it lets what runs come to its end, starts nothing new, and says what it waits for. Ctrl-C ends the waiting alone. Ends with 75 when the time is over; the daemon still does what it was asked. Where no daemon runs there is nothing to do, which is 0.",
    examples: ["orchestrator stop", "orchestrator stop --now", "orchestrator stop --timeout 10m || orchestrator stop --detach"],
    load: () => import("./stop.ts"),
  },
  {
    name: "restart",
    summary: "replace the daemon by this program while agents work on",
    options: [{ flags: "--timeout <duration>", summary: "how long the old one may take to end (default: 60s)" }],
    details:
      "For upgrades in place. The new daemon gets the options of the old one and the environment of this shell, and runs in the background; a service is restarted by its service manager. Without a daemon it starts one.",
    examples: ["npm install -g ./orchestrator-0.2.0.tgz && orchestrator restart"],
    load: () => import("./restart.ts"),
  },
  {
    name: "service install",
    summary: "have systemd (Linux) or launchd (macOS) keep the daemon running",
    options: [
      { flags: "--print", summary: "only print the file that it would write" },
      { flags: "--force", summary: "also when there is another file; that one is kept beside it" },
    ],
    details:
      "For this user, with this home, this program and the PATH of this shell. A daemon that crashes is started again, except where that cannot help. Ends with 5 when there is a file that it would not have written.",
    examples: ["orchestrator service install --print", "orchestrator service install"],
    load: async () => (await import("./service.ts")).install,
  },
  {
    name: "service uninstall",
    summary: "end the service and remove its file",
    options: [{ flags: "--force", summary: "also when its file was edited" }],
    details: "What runs goes on until the next daemon takes it up.",
    examples: ["orchestrator service uninstall"],
    load: async () => (await import("./service.ts")).uninstall,
  },
  {
    name: "service status",
    summary: "say whether the service is installed and running",
    json: true,
    details: "Ends with 0 when it runs, 1 when it does not, 3 when it is not installed.",
    examples: ["orchestrator service status"],
    load: async () => (await import("./service.ts")).status,
  },
  {
    name: "tick",
    summary: "start every ready ticket once, wait for those runs, and end",
    details: "One phase of every ticket that is ready, within the limits. Refused while a daemon runs.",
    examples: ["*/5 * * * * orchestrator tick"],
    load: () => import("./tick.ts"),
  },
  {
    name: "pause",
    summary: "stop a ticket until it is resumed",
    arguments: ticket,
    options: [reason],
    details: "A run under way is stopped; it costs no attempt, and the same phase runs again after resume.",
    examples: ["orchestrator pause auth T-3 --reason 'waiting for the design'"],
    load: async () => (await import("./intents.ts")).pause,
  },
  {
    name: "resume",
    summary: "let a paused ticket go on",
    arguments: ticket,
    examples: ["orchestrator resume auth T-3"],
    load: async () => (await import("./intents.ts")).resume,
  },
  {
    name: "skip",
    summary: "go on with another phase",
    arguments: [...ticket, { name: "phase", summary: "the phase to enter", joinable: true }],
    examples: ["orchestrator skip auth T-3 create_pr"],
    load: async () => (await import("./intents.ts")).skip,
  },
  {
    name: "retry",
    summary: "run the current phase again with all its attempts",
    arguments: ticket,
    options: [{ flags: "-m, --message <text>", summary: "what the agent should know this time" }],
    examples: ["orchestrator retry auth T-3", "orchestrator retry auth T-3 -m 'the fixture moved to test/data'"],
    load: async () => (await import("./intents.ts")).retry,
  },
  {
    name: "cancel",
    summary: "end a ticket for good",
    arguments: ticket,
    options: [reason],
    details: "Its branch and worktree stay.",
    examples: ["orchestrator cancel auth T-3 --reason 'no longer wanted'"],
    load: async () => (await import("./intents.ts")).cancel,
  },
  {
    name: "approve",
    summary: "let a ticket pass its gate",
    arguments: ticket,
    options: [{ flags: "-m, --message <text>", summary: "a remark for later phases" }],
    examples: ["orchestrator approve auth T-3"],
    load: async () => (await import("./intents.ts")).approve,
  },
  {
    name: "reject",
    summary: "send a ticket back from its gate",
    arguments: ticket,
    options: [{ flags: "-f, --feedback <text>", summary: "what has to change (required)" }],
    examples: ["orchestrator reject auth T-3 --feedback 'keep the old endpoint'"],
    load: async () => (await import("./intents.ts")).reject,
  },
  {
    name: "pause-plan",
    summary: "stop a plan until it is resumed",
    arguments: [plan],
    options: [reason],
    examples: ["orchestrator pause-plan auth"],
    load: async () => (await import("./intents.ts")).pausePlan,
  },
  {
    name: "resume-plan",
    summary: "let a paused plan go on",
    arguments: [plan],
    details: "Tickets that were paused by themselves stay paused. A draft goes on with plan approve alone.",
    examples: ["orchestrator resume-plan auth"],
    load: async () => (await import("./intents.ts")).resumePlan,
  },
  {
    name: "cancel-plan",
    summary: "end every ticket of a plan for good",
    arguments: [plan],
    options: [reason],
    details:
      "Runs under way are stopped. Tickets that have ended stay as they are, and so do branches and worktrees. Afterwards the plan's folder may be removed.",
    examples: ["orchestrator cancel-plan auth --reason 'no longer wanted'"],
    load: async () => (await import("./intents.ts")).cancelPlan,
  },
  {
    name: "import",
    summary: "make a plan of work that is written down elsewhere, or bring one in line with it",
    arguments: [
      {
        name: "source",
        summary:
          "github:owner/repo, linear:TEAM, features:file, issues:folder, backlog:file#heading, text:file, or a path or address of one",
      },
    ],
    options: [
      { flags: "--plan <id>", summary: "the plan (default: the one that has the items, else named by their group or the source)" },
      { flags: "-r, --repo <path>", summary: "its repository (default: the one that the source lies in, else this folder's)" },
      { flags: "-w, --workflow <name>", summary: "its workflow (default for a new plan: local)" },
      { flags: "--group <name>", summary: "only the items of this milestone, project, cycle, category or heading" },
      { flags: "--dry-run", summary: "write nothing, only show what would come of it" },
      { flags: "-y, --yes", summary: "the plan is active at once, and a plan that is being worked is changed" },
    ],
    json: true,
    details:
      "Open items become tickets with the same ids whenever they are read, so importing again adds what is new, changes what has changed and has not begun, and takes nothing away. Without --yes you are asked at a terminal; elsewhere a new plan is a draft, and a plan that is being worked stays as it is. Warnings say what was guessed or left out. Ends with 8 when the plan has errors and nothing was written, 4 when it may not be changed now, 75 when the daemon has the change and has not answered yet.",
    examples: [
      "orchestrator import 'github:acme/shop?label=ready&milestone=2.0' --dry-run",
      "orchestrator import features.json --yes",
      "orchestrator import 'CLAUDE.md#Backlog' --plan backlog",
    ],
    load: () => import("./import.ts"),
  },
  {
    name: "sync",
    summary: "tell the sources of a plan's tickets what has become of them",
    arguments: [plan],
    options: [
      { flags: "--close", summary: "close the GitHub issues whose tickets are complete, when that is told for the first time" },
      { flags: "--dry-run", summary: "write nothing, only show what would be told" },
    ],
    json: true,
    details:
      "Statuses go to features.json and Linear, comments to GitHub and Linear; other sources are only read. Saying it again changes nothing. Ends with 1 when a source could not be told.",
    examples: ["orchestrator sync shop", "orchestrator sync shop --close --dry-run"],
    load: async () => (await import("./import.ts")).sync,
  },
  {
    name: "logs",
    summary: "show what happened to a plan or ticket",
    arguments: [
      { name: "planId", summary: "the plan; without it, the log of the daemon", optional: true },
      { name: "ticketId", summary: "the ticket", optional: true },
    ],
    options: [
      { flags: "--phase <phase>", summary: "only what concerns this phase" },
      { flags: "--run <id>", summary: "the transcript of this run instead of the newest one" },
      { flags: "-f, --follow", summary: "go on with what is added, until Ctrl-C" },
      { flags: "--raw", summary: "the output of the run as the program wrote it" },
      { flags: "--since <time>", summary: "only what is younger: 90s, 10m, 2h, 3d or a date" },
    ],
    details: "Following never owns anything: Ctrl-C ends the following and nothing else.",
    examples: [
      "orchestrator logs auth T-3 --follow",
      "orchestrator logs auth --since 2h",
      "orchestrator logs auth/T-3 --run 0004-implement --raw",
    ],
    load: () => import("./logs.ts"),
  },
  {
    name: "cost",
    summary: "show what agents have cost",
    options: [
      {
        flags: "--by <what>",
        summary: "a line per plan (default), ticket, phase, agent, model or day",
        choices: ["plan", "ticket", "phase", "agent", "model", "day"],
      },
      { flags: "-p, --plan <id>", summary: "only this plan" },
      { flags: "--since <time>", summary: "only what ended since: 90s, 10m, 2h, 3d or a date" },
    ],
    json: true,
    details:
      "Needs no daemon. Money is what the agent's own program says, else tokens at the price of their model; where neither is known the tokens are counted and the money is not. Runs under way are not in it. A day is one of UTC.",
    examples: ["orchestrator cost", "orchestrator cost --by ticket --plan auth", "orchestrator cost --by day --since 7d --json"],
    load: () => import("./cost.ts"),
  },
  {
    name: "budget",
    summary: "set what a plan or a ticket may cost",
    arguments: [plan, { name: "ticketId", summary: "the ticket; without it, the plan", optional: true }],
    options: [
      { flags: "--usd <sum>", summary: "in US dollars, over all its runs; none: no cap" },
      { flags: "--tokens <count>", summary: "in tokens, over all its runs; none: no cap" },
    ],
    details:
      "The same as editing budgetUsd or budgetTokens in plan.json or in the ticket's file. What waits for room goes on by itself, in the same conversation with its agent.",
    examples: [
      "orchestrator budget auth --usd 20",
      "orchestrator budget auth T-3 --usd 5 --tokens 3000000",
      "orchestrator budget auth --usd none",
    ],
    load: () => import("./budget.ts"),
  },
  {
    name: "sessions",
    summary: "list a ticket's conversations with agents",
    arguments: ticket,
    options: [onePhase],
    json: true,
    examples: ["orchestrator sessions auth T-3"],
    load: () => import("./sessions.ts"),
  },
  {
    name: "resume-session",
    summary: "open a conversation in the agent's own interface",
    arguments: [...ticket, { name: "sessionId", summary: "which one (default: the latest)", optional: true }],
    options: [{ flags: "--phase <phase>", summary: "the latest of this phase" }],
    details: "Runs in the ticket's worktree and ends with the code of the agent's program.",
    examples: ["orchestrator resume-session auth T-3", "orchestrator resume-session auth T-3 --phase implement"],
    load: () => import("./resume-session.ts"),
  },
  {
    name: "send",
    summary: "tell a ticket's agent something",
    arguments: [...ticket, { name: "message", summary: "what it is told, as one argument", joinable: true }],
    details:
      "A run of an agent is stopped and goes on in the same conversation with the message; that costs no attempt. Where no agent works, the next one is told. A ticket that has failed in a phase of an agent starts there again, as with retry. Refused for a ticket that is complete or waits at a gate.",
    examples: ["orchestrator send auth T-3 'keep the old endpoint, clients still use it'"],
    load: async () => (await import("./intents.ts")).send,
  },
  {
    name: "attach",
    summary: "take a ticket over in the agent's own interface",
    arguments: ticket,
    options: [
      { flags: "--phase <phase>", summary: "the latest conversation of this phase" },
      { flags: "--keep", summary: "afterwards the ticket stays paused until it is resumed" },
    ],
    details:
      "A run under way is stopped, at no attempt; the ticket is held in your name; the conversation opens in the ticket's worktree. When the agent's program ends, the ticket goes on in that conversation. sessions and logs show who took it over and when. Ends with the code of the agent's program.",
    examples: ["orchestrator attach auth T-3", "orchestrator attach auth T-3 --keep"],
    load: () => import("./attach.ts"),
  },
  {
    name: "restore",
    summary: "bring back work that was saved before something was removed",
    arguments: [
      { name: "planId", summary: "the plan", optional: true },
      { name: "ticketId", summary: "the ticket", optional: true },
    ],
    options: [
      { flags: "--list", summary: "only list what is saved" },
      { flags: "--ref <ref>", summary: "which state (default: the newest of the ticket)" },
      { flags: "--to <path>", summary: "where (default: the ticket's worktree)" },
      {
        flags: "--repo <path>",
        summary: "the repository, where no plan names it; with --checkout: your checkout (default: where you are)",
      },
      { flags: "--checkout", summary: "your own checkout, as it was before an agent ran" },
    ],
    json: true,
    details:
      "What stands at the place already is saved first. With --checkout your own files, index, branches, stash, configuration and hooks are written; nothing else but land ever does that.",
    examples: [
      "orchestrator restore auth --list",
      "orchestrator restore auth T-3",
      "orchestrator restore auth T-3 --to /tmp/look",
      "orchestrator restore --checkout --list",
    ],
    load: () => import("./restore.ts"),
  },
  {
    name: "gc",
    summary: "remove what tickets and plans that have ended left behind",
    options: [
      { flags: "--dry-run", summary: "only say what would be removed, and what stays and why" },
      { flags: "--older-than <age>", summary: "only what ended so long ago: 90s, 10m, 2h or 3d" },
      { flags: "-p, --plan <id>", summary: "only what belongs to this plan" },
      { flags: "--saved", summary: "saved states as well whose content is merged" },
      { flags: "--saved-older-than <age>", summary: "saved states of that age as well, merged or not" },
    ],
    json: true,
    details:
      "Worktrees of tickets that have ended, their branches once merged, worktrees parked for plans that have ended, and runs and logs of plans that ended keepRunsDays ago, with states of your own checkouts as old. Tickets that failed or need a person keep their worktree as long. Work that is not merged is saved first, and whatever is of a ticket that goes on, locked, or not made by this program stays. Ends with 1 when something could not be removed.",
    examples: ["orchestrator gc --dry-run", "orchestrator gc --plan auth --older-than 7d", "orchestrator gc --saved --dry-run"],
    load: () => import("./gc.ts"),
  },
  {
    name: "land",
    summary: "bring merged work into your own checkout",
    options: [
      { flags: "--repo <path>", summary: "the checkout (default: where you are)" },
      { flags: "--base <name>", summary: "the base branch (default: detected)" },
    ],
    details:
      "A fast-forward of a tree without changes from the branch orchestrator/<base>; in any other case it says why not and ends with 5.",
    examples: ["orchestrator land", "orchestrator land --repo ~/src/app --base main"],
    load: () => import("./land.ts"),
  },
  {
    name: "check",
    summary: "check configuration, workflows, plans and tickets",
    options: [strict],
    json: true,
    details: "Prints every finding as file:line:column. Ends with 8 when one is an error.",
    examples: ["orchestrator check", "orchestrator check --strict"],
    load: () => import("./check.ts"),
  },
  {
    name: "doctor",
    summary: "check that this machine has what the work needs",
    json: true,
    details: "Ends with 1 when something has to be mended; what only may be missing is a warning.",
    examples: ["orchestrator doctor", "orchestrator doctor --json"],
    load: () => import("./doctor.ts"),
  },
  {
    name: "plan",
    summary: "plan without a terminal: from a request or a source to a plan",
    options: [
      { flags: "--prompt <text>", summary: "what is wanted; - reads it from standard input" },
      { flags: "--from <source>", summary: "plan the open work of a source, named as for import" },
      { flags: "-r, --repo <path>", summary: "plan for this repository (default: where you are, or the workspace below)" },
      { flags: "-w, --workflow <name>", summary: "the workflow of plans that name none" },
      { flags: "--worktree-root <path>", summary: "where the worktrees of its plans go" },
      { flags: "--role <name>", summary: "the role that the planner takes: a file of prompts/personas" },
      { flags: "--max-tickets <n>", summary: "how many tickets it may plan", value: { type: "integer", min: 1, max: 500 } },
      { flags: "--timeout <duration>", summary: "how long it may take (default: 15m)" },
      { flags: "--max-usd <sum>", summary: "what it may cost in US dollars (default: 5)" },
      { flags: "-y, --yes", summary: "the plan is active at once" },
    ],
    json: true,
    details:
      "PI plans alone, by the same prompt, tools and checks as in interactive. Without --yes a plan is a draft. What the planner thought, did, deferred and cost is kept below state/planner-runs and printed by --json. Ends with 1 when no plan came of it, and with 0 when there was nothing to plan.",
    examples: [
      "orchestrator plan --prompt 'add a health check to the API' --repo ~/src/api",
      "orchestrator plan --from github:acme/shop --max-usd 2 --json",
    ],
    load: () => import("./plan-headless.ts"),
  },
  {
    name: "plan new",
    summary: "write a new plan, all of it or nothing",
    arguments: [draftFile],
    options: [yes],
    json: true,
    details:
      "Checks it first: fields, ids, what waits for what, branches, repositories, workflows, agents; then what makes it hard to work from, as warnings. It is a draft, which nobody works, unless --yes is given or you say yes at the terminal. Ends with 8 when a finding is an error, 4 when there is a plan of that id, 1 when you say no; nothing is written then.",
    examples: ["orchestrator plan new auth.yaml", "orchestrator plan new --yes - < auth.json"],
    load: async () => (await import("./plan.ts")).create,
  },
  {
    name: "plan show",
    summary: "show a plan with its tickets in full",
    arguments: [plan],
    json: true,
    examples: ["orchestrator plan show auth", "orchestrator plan show auth --json | jq .data.plan > auth.json"],
    load: async () => (await import("./plan.ts")).show,
  },
  {
    name: "plan lint",
    summary: "check a plan, written or not",
    arguments: [fileOrPlan],
    options: [strict],
    json: true,
    details: "Says what plan new would say, and writes nothing. Ends with 8 when a finding is an error.",
    examples: ["orchestrator plan lint auth.yaml", "orchestrator plan lint auth --strict"],
    load: async () => (await import("./plan.ts")).lint,
  },
  {
    name: "plan apply",
    summary: "bring a plan in line with a file",
    arguments: [draftFile],
    options: [yes],
    json: true,
    details:
      "Writes the plan where there is none. Else adds what is new and changes what has not begun; tickets are found again by their source, or by their id. What the file leaves out stays, and so do tickets that have begun; both are said. Doing it twice changes nothing the second time. A plan that is being worked changes only with --yes, or your yes at the terminal.",
    examples: ["orchestrator plan apply auth.yaml", "orchestrator plan apply --yes --json auth.yaml"],
    load: async () => (await import("./plan.ts")).apply,
  },
  {
    name: "plan approve",
    summary: "let a draft be worked",
    arguments: [plan],
    json: true,
    details: "Checks it once more. Ends with 8, and the plan stays a draft, when a finding is an error; 4 when it is no draft.",
    examples: ["orchestrator plan approve auth"],
    load: async () => (await import("./plan.ts")).approve,
  },
  {
    name: "plan edit",
    summary: "change a plan in your editor",
    arguments: [plan],
    json: true,
    details:
      "Opens $VISUAL or $EDITOR on the whole plan as YAML. What you save is checked and then becomes the plan; with an error nothing changes, and your text is kept.",
    examples: ["orchestrator plan edit auth", "EDITOR='code --wait' orchestrator plan edit auth"],
    load: async () => (await import("./plan.ts")).edit,
  },
  {
    name: "plan graph",
    summary: "draw what waits for what",
    arguments: [fileOrPlan],
    options: [{ flags: "--format <format>", summary: "text (default), mermaid or dot", choices: ["text", "mermaid", "dot"] }],
    json: true,
    examples: ["orchestrator plan graph auth", "orchestrator plan graph auth --format dot | dot -Tsvg > auth.svg"],
    load: async () => (await import("./plan.ts")).graph,
  },
  {
    name: "plan archive",
    summary: "put a plan away that is over",
    arguments: [plan],
    options: [{ flags: "--failed", summary: "also with tickets that failed or need a person" }],
    json: true,
    details:
      "Moves its folder to state/archive, as it is. Its id stays taken. Run gc first: it no longer looks at the plan afterwards. To have a plan back, move the folder back. Ends with 4 when a ticket has not ended.",
    examples: ["orchestrator gc --plan auth && orchestrator plan archive auth"],
    load: async () => (await import("./plan.ts")).archive,
  },
  {
    name: "plan review",
    summary: "have an agent that has not seen the conversation review a plan",
    arguments: [plan],
    options: [{ flags: "--agent <name>", summary: "who reviews, instead of defaultAgent" }],
    json: true,
    details:
      "Makes a plan of one ticket with the workflow plan-review and works it, or follows the daemon that does. The plan itself stays as it is. Ends with 0 when it can be worked, 7 when something blocks it; after three verdicts a person decides. A review that was interrupted is gone on with.",
    examples: ["orchestrator plan review auth", "orchestrator plan review auth --agent codex --json"],
    load: () => import("./plan-review.ts"),
  },
  {
    name: "ticket add",
    summary: "add a ticket to a plan",
    arguments: [plan, { name: "ticketId", summary: "its id (default: the one in the file)", joinable: true }],
    options: ticketFields,
    json: true,
    details: "The plan may be being worked. Ends with 8 when a finding is an error, 4 when the ticket cannot be added.",
    examples: [
      "orchestrator ticket add auth T-4 --title 'Lock an account after ten wrong passwords' --criterion '`npm test` passes' --after T-1",
      "orchestrator ticket add auth --file T-4.yaml",
    ],
    load: async () => (await import("./ticket.ts")).add,
  },
  {
    name: "ticket change",
    summary: "change fields of a ticket",
    arguments: ticket,
    options: ticketFields,
    json: true,
    details:
      "Fields that are not named stay. Once a ticket has begun its repository, workflow and branch stand, and it can wait for nothing more; one that is complete, skipped or cancelled changes no more.",
    examples: [
      "orchestrator ticket change auth T-4 --priority P0 --scope 'src/auth/**' 'test/auth/**'",
      "orchestrator ticket change auth/T-4 --agent none",
    ],
    load: async () => (await import("./ticket.ts")).set,
  },
  {
    name: "ticket remove",
    summary: "take a ticket off a plan",
    arguments: ticket,
    json: true,
    details:
      "Only one that has not begun and that no other ticket waits for. Its files are kept in the plan's folder, under .orch/removed.",
    examples: ["orchestrator ticket remove auth T-4"],
    load: async () => (await import("./ticket.ts")).remove,
  },
  {
    name: "ticket depend",
    summary: "make a ticket wait for another one",
    arguments: [...ticket, { name: "on", summary: "the ticket that has to be done first", joinable: true }],
    json: true,
    details: "Refused with 4 when tickets would wait for each other in a circle, and for a ticket that has begun.",
    examples: ["orchestrator ticket depend auth T-4 T-1"],
    load: async () => (await import("./ticket.ts")).depend,
  },
  {
    name: "ticket undepend",
    summary: "let a ticket no longer wait for another one",
    arguments: [...ticket, { name: "on", summary: "the ticket that it waits for", joinable: true }],
    json: true,
    examples: ["orchestrator ticket undepend auth T-4 T-1"],
    load: async () => (await import("./ticket.ts")).undepend,
  },
  {
    name: "workflow list",
    summary: "list the workflows and where they come from",
    json: true,
    examples: ["orchestrator workflow list"],
    load: async () => (await import("./workflow.ts")).list,
  },
  {
    name: "workflow lint",
    summary: "check one workflow or all of them",
    arguments: [{ name: "workflow", summary: "a name, or the path of a file", optional: true }],
    options: [strict],
    json: true,
    details: "Ends with 8 when a finding is an error.",
    examples: ["orchestrator workflow lint", "orchestrator workflow lint ./my-flow.yaml"],
    load: async () => (await import("./workflow.ts")).lint,
  },
  {
    name: "workflow graph",
    summary: "draw a workflow",
    arguments: [{ name: "workflow", summary: "a name, or the path of a file" }],
    options: [{ flags: "--format <format>", summary: "text (default), mermaid or dot", choices: ["text", "mermaid", "dot"] }],
    examples: ["orchestrator workflow graph standard", "orchestrator workflow graph standard --format dot | dot -Tsvg > standard.svg"],
    load: async () => (await import("./workflow.ts")).graph,
  },
  {
    name: "workflow upgrade",
    summary: "let a plan go on under the present text of a workflow",
    arguments: [plan, { name: "workflow", summary: "its name (default: the plan's own)", optional: true }],
    details:
      "A plan keeps the text of a workflow that it began with; this replaces it by the one that new plans would get. Refused while that one has errors, or a ticket is in a phase that it lacks. Runs under way go on, and what follows them is what the new text says.",
    examples: ["orchestrator workflow upgrade auth", "orchestrator workflow upgrade auth hotfix"],
    load: async () => (await import("./intents.ts")).upgradeWorkflow,
  },
  {
    name: "blueprint list",
    summary: "list the blueprints, their parameters and where they come from",
    json: true,
    examples: ["orchestrator blueprint list"],
    load: async () => (await import("./blueprint.ts")).list,
  },
  {
    name: "blueprint apply",
    summary: "make the draft of a plan from a blueprint",
    arguments: [{ name: "blueprint", summary: "its name" }],
    options: [
      { flags: "--set <key=value...>", summary: "the value of a parameter" },
      { flags: "--id <plan>", summary: "the id of the plan, instead of the blueprint's" },
      { flags: "--repo <path>", summary: "the repository that the plan is for (default: the blueprint's, else the one that you are in)" },
      { flags: "--workflow <name>", summary: "the workflow of the plan (default: the blueprint's, else local)" },
      { flags: "--dry-run", summary: "show the plan and write nothing" },
    ],
    json: true,
    details:
      "Writes a draft, which nobody works before it is approved. Ends with 8 when the values make no valid plan; nothing is written then.",
    examples: [
      "orchestrator blueprint apply crud-resource --set resource=invoice 'fields=number: text, total: money' --repo ~/src/app --dry-run",
    ],
    load: async () => (await import("./blueprint.ts")).apply,
  },
  {
    name: "blueprint add",
    summary: "save a plan as a blueprint",
    arguments: [
      { name: "blueprint", summary: "the name of the new blueprint" },
      { name: "from", summary: "a plan, or a file with the draft of one or with a blueprint" },
    ],
    options: [
      { flags: "--param <key=value...>", summary: "this text becomes a parameter wherever the plan has it" },
      { flags: "--force", summary: "replace the blueprint of that name" },
    ],
    json: true,
    details: "Repository, worktrees, branches and sources of the plan are left out. Goes to the blueprints of the home folder.",
    examples: ["orchestrator blueprint add report invoices --param resource=invoice", "orchestrator blueprint add report ./plan.yaml"],
    load: async () => (await import("./blueprint.ts")).add,
  },
  {
    name: "skill list",
    summary: "list the skills, whom they are for and where they come from",
    json: true,
    examples: ["orchestrator skill list"],
    load: async () => (await import("./skill.ts")).list,
  },
  {
    name: "skill lint",
    summary: "check one skill or all of them",
    arguments: [{ name: "skill", summary: "its name", optional: true }],
    options: [strict],
    json: true,
    details: "Ends with 8 when a finding is an error.",
    examples: ["orchestrator skill lint", "orchestrator skill lint testing"],
    load: async () => (await import("./skill.ts")).lint,
  },
  {
    name: "worktree ensure",
    summary: "make sure that a ticket's worktree stands, and print its path",
    hidden: true,
    options: [
      { flags: "--repo <path>", summary: "the repository" },
      { flags: "--branch <name>", summary: "the ticket's branch" },
      { flags: "--path <path>", summary: "the worktree" },
    ],
    load: async () => (await import("./worktree.ts")).ensure,
  },
  {
    name: "worktree remove",
    summary: "remove a ticket's worktree, once what it holds is safe",
    hidden: true,
    options: [
      { flags: "--repo <path>", summary: "the repository" },
      { flags: "--branch <name>", summary: "the ticket's branch" },
      { flags: "--path <path>", summary: "the worktree" },
    ],
    load: async () => (await import("./worktree.ts")).remove,
  },
  {
    name: "agents",
    summary: "show the agents and whether their providers let them work",
    arguments: [
      { name: "action", summary: "`resume` ends the wait of an agent, when what kept it is mended", optional: true, choices: ["resume"] },
      { name: "agent", summary: "which one, or its account", optional: true },
    ],
    json: true,
    details:
      "An agent whose provider does not serve it (a limit that is used up, an expired login, an overload) is parked: its tickets wait without losing an attempt, or another agent takes over. After resume one run tries it at once, and the others follow when it was served.",
    examples: ["orchestrator agents", "orchestrator agents --json", "orchestrator agents resume claude"],
    load: () => import("./agents.ts"),
  },
  {
    name: "mcp",
    summary: "offer the plan tools to any agent that speaks MCP, by stdin and stdout",
    options: [
      { flags: "--client-approves", summary: "the client asks a person before each call, so what it calls is approved" },
      { flags: "--drafts-only", summary: "nobody is asked, and every plan is a draft" },
    ],
    details:
      "Started by the agent, not by a person: docs/mcp.md has the lines for claude, codex and others. A client that can ask a person (elicitation) is told to; a plan that nobody has approved is a draft, and its answer names the command that approves it. --client-approves is for clients that ask before every call of a tool that writes, --drafts-only for scripts. Ends when the client closes stdin. Talk goes to stderr.",
    examples: ["claude mcp add orchestrator -- orchestrator mcp", "codex mcp add orchestrator -- orchestrator mcp"],
    background: true,
    load: () => import("./mcp.ts"),
  },
  {
    name: "demo",
    summary: "see the main job done on a throw-away repository",
    options: [
      {
        flags: "--agent <name>",
        summary: "who works (default: a scripted agent that needs no account)",
        choices: ["scripted", "claude", "codex", "pi", "gemini", "copilot", "opencode"],
      },
      { flags: "--dir <path>", summary: "where (default: a new temporary folder)" },
    ],
    details:
      "Makes a repository and a plan of four tickets, runs the real daemon on it and shows what happens. The folder stays, to look around in.",
    examples: ["orchestrator demo", "orchestrator demo --agent claude"],
    load: () => import("./demo.ts"),
  },
  {
    name: "completion",
    summary: "print completions for a shell",
    arguments: [{ name: "shell", summary: "bash, zsh or fish", choices: ["bash", "zsh", "fish"] }],
    examples: ["source <(orchestrator completion bash)", "orchestrator completion fish > ~/.config/fish/completions/orchestrator.fish"],
    load: async () => (await import("./completion.ts")).completion({ commands, groups, globalOptions, jsonOption }),
  },
  {
    name: "version",
    summary: "print the version",
    json: true,
    examples: ["orchestrator version --json"],
    load: () => import("./version.ts"),
  },
];
