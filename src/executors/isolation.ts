import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { IsolateProcesses } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { isPassing } from "../lib/passing.ts";

/** What holds the processes of a run together, besides their mark, their session and their descent. */
export interface Isolation {
  /**
   * `namespace`: a pid namespace; whatever way it ends, the system kills all that is in it. `subreaper`: a parent that
   * takes in what loses its own, so that descent is never lost while the shim lives. `none`: nothing.
   */
  kind: "namespace" | "subreaper" | "none";
  /** The shim's command comes behind these arguments. Whoever runs it is named to it by ORCH_ADOPTER. */
  prefix: string[];
  /** Why it is not a kind that holds more; null where nothing holds more. */
  reason: string | null;
}

/**
 * A pid namespace of its own needs a first process, which gets the orphans. It has to be another one than the program: a
 * first process is not ended by signals that it has no handler for. Host mounts still appear inside, as they do outside.
 */
const inNamespace = [
  ...["--pid", "--fork", "--kill-child", "--propagation", "slave", "--mount-proc", "--"],
  ...["/bin/sh", "-c", 'ORCH_ADOPTER=$$ "$@"; exit $?', "sh"],
];

/** PR_SET_CHILD_SUBREAPER is 36, PR_GET_CHILD_SUBREAPER 37. */
const adopt = [
  'my $prctl = 0 + shift; my $is = pack("i", 0);',
  'syscall($prctl, 36, 1) == 0 && syscall($prctl, 37, $is) == 0 && unpack("i", $is) == 1 or exit 71;',
  "$ENV{ORCH_ADOPTER} = $$; my $shim = fork; defined $shim or exit 71;",
  "if (!$shim) { exec { $ARGV[0] } @ARGV; exit 71 }",
  "while ((my $dead = wait) > 0) { exit($? & 127 ? 128 + ($? & 127) : $? >> 8) if $dead == $shim }",
].join(" ");

/** The number of the system call prctl. */
const prctl: Partial<Record<NodeJS.Architecture, number>> = { x64: 157, arm64: 167, riscv64: 167, loong64: 167 };

/** Prints parent and pid by the shell and pid by /proc: within a namespace that works, "1 2 2". */
const lookAround = 'read -r pid rest < /proc/self/stat; echo "$PPID $$ $pid"';
const probeMs = 10_000;

/**
 * Finds out, by doing it, what this machine can hold the processes of a run together with. Throws a UserError when a namespace
 * was asked for and there is none to be had, and errors of a busy machine.
 */
export async function findIsolation(wish: IsolateProcesses): Promise<Isolation> {
  const isRoot = process.getuid?.() === 0;
  let reason: string | null = null;
  if (wish === "namespace" || (wish === "auto" && isRoot)) {
    const prefix = ["unshare", ...(isRoot ? [] : ["--user", "--map-current-user"]), ...inNamespace];
    const said = process.platform === "linux" ? await output([...prefix, "/bin/sh", "-c", lookAround]) : { error: "only Linux has them" };
    if (said.text === "1 2 2") return { kind: "namespace", prefix, reason: null };
    reason = `no pid namespace (${said.error ?? `unshare made an odd one: ${said.text}`})`;
    if (wish === "namespace") {
      throw new UserError(`isolateProcesses is "namespace", and there is ${reason}.`, { hint: namespaceHint() });
    }
  } else if (process.platform === "linux") {
    reason = wish === "off" ? "isolateProcesses is off" : "a pid namespace takes root, or isolateProcesses: namespace";
  }
  const number = prctl[process.arch];
  if (process.platform !== "linux" || number === undefined) return { kind: "none", prefix: [], reason };
  const prefix = ["perl", "-e", adopt, String(number)];
  const said = await output([...prefix, "/bin/sh", "-c", 'test "$PPID" = "$ORCH_ADOPTER" && echo adopted']);
  if (said.text === "adopted") return { kind: "subreaper", prefix, reason };
  return { kind: "none", prefix: [], reason: [reason, `no subreaper (${said.error ?? said.text})`].filter(Boolean).join("; ") };
}

/** findIsolation() for as often as one likes: what is to be had stays so while this process lives; what is not may be mended. */
export function isolationFinder(wish: () => IsolateProcesses): () => Promise<Isolation> {
  const known = new Map<IsolateProcesses, Isolation>();
  return async () => {
    const kind = wish();
    const found = known.get(kind) ?? (await findIsolation(kind));
    if (found.kind !== "none") known.set(kind, found);
    return found;
  };
}

/** What stands in the way of namespaces for everybody, and how to let them be made. */
function namespaceHint(): string {
  const isSet = (name: string, value: string) => {
    try {
      return readFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, "utf8").trim() === value;
    } catch {
      return false;
    }
  };
  if (process.platform !== "linux") return "set isolateProcesses: auto";
  // Ubuntu 23.10 and later.
  if (isSet("kernel.apparmor_restrict_unprivileged_userns", "1")) {
    return "AppArmor forbids it: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 allows it, or set isolateProcesses: auto";
  }
  for (const name of ["kernel.unprivileged_userns_clone", "user.max_user_namespaces"]) {
    if (isSet(name, "0")) return `sysctl -w ${name}=${name.includes("max") ? 10_000 : 1} allows it, or set isolateProcesses: auto`;
  }
  return "install util-linux 2.34 or newer; a container needs CAP_SYS_ADMIN; or set isolateProcesses: auto";
}

/** What a command prints, or why it did not end well. Rejects with an error of a busy machine, which says nothing about the command. */
function output([program = "", ...args]: string[]): Promise<{ text?: string; error?: string }> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], timeout: probeMs, killSignal: "SIGKILL" });
    child.once("error", (error) => {
      if (isPassing(error)) reject(error);
      else resolve({ error: `${program}: ${(error as NodeJS.ErrnoException).code ?? error.message}` });
    });
    const said = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      // There is none when there was no descriptor for it.
      child[stream]?.setEncoding("utf8").on("data", (text: string) => {
        said[stream] += text;
      });
    }
    child.once("close", (code) => {
      const stderr = said.stderr.trim().split("\n")[0];
      resolve(code === 0 ? { text: said.stdout.trim() } : { error: stderr || `${program} ended with ${code}` });
    });
  });
}
