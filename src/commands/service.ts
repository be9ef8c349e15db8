import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import type { Context } from "../app.ts";
import { runningDaemon } from "../daemon/holder.ts";
import type { Config } from "../domain/config.ts";
import { UserError } from "../domain/errors.ts";
import { programFile } from "../inputs/assets.ts";
import type { DaemonRecord } from "../state/daemon-record.ts";
import { daemonOutputFile } from "../state/layout.ts";
import type { CommandModule, Ending } from "./command.ts";
import { printData, printLine } from "./print.ts";
import { agentLabel, launchdAgent, type ServiceFacts, systemdUnit, unitName } from "./service-unit.ts";

/** A service manager of this machine and the file that tells it of the daemon. */
interface Manager {
  name: "systemd" | "launchd";
  file: string;
  /** What the file has to say. */
  text: string;
  /** The commands, as argument lists, that have the manager take the file up and start it, and so on. */
  start: string[][];
  stop: string[][];
  forget: string[][];
  restart: string[][];
  /** Succeeds while the manager keeps the daemon running. */
  probe: string[];
}

/** Writes the file of the service and has the manager start it. */
export const install: CommandModule = {
  async run(context: Context, _args: string[], options: { print?: boolean; force?: boolean }): Promise<Ending> {
    const config = await context.config();
    const manager = managerOf(context, config);
    if (options.print) {
      context.stdout.write(manager.text);
      return "ok";
    }
    refuseBesideDaemon(config.home);
    const written = existing(manager);
    if (written !== undefined && written !== manager.text) {
      refuseOthers(manager, written, options.force ?? false);
      renameSync(manager.file, `${manager.file}.old`);
      context.say(`what was in ${manager.file} is in ${manager.file}.old`);
    }
    let isActive = succeeds(manager.probe);
    if (written !== manager.text) {
      if (isActive) call(context, manager.stop);
      isActive = false;
      mkdirSync(dirname(manager.file), { recursive: true });
      writeFileSync(manager.file, manager.text, { mode: 0o600 });
    }
    if (!isActive) call(context, manager.start);
    printLine(context, `${manager.name} keeps the daemon of ${config.home} running: ${manager.file}`);
    if (manager.name === "systemd" && !lingers()) {
      printLine(context, "It ends when you log out. To have it run from boot on: loginctl enable-linger");
    }
    return "ok";
  },
};

/** Stops the service and removes its file. What runs goes on. */
export const uninstall: CommandModule = {
  async run(context: Context, _args: string[], options: { force?: boolean }): Promise<Ending> {
    const manager = managerOf(context, await context.config());
    const written = existing(manager);
    if (written === undefined) {
      printLine(context, `No service is installed: there is no ${manager.file}.`);
      return "ok";
    }
    if (written !== manager.text) refuseOthers(manager, written, options.force ?? false);
    call(context, manager.stop);
    unlinkSync(manager.file);
    call(context, manager.forget);
    printLine(
      context,
      `The service has ended and ${manager.file} is gone. Runs that were under way go on until the next daemon takes them up.`,
    );
    return "ok";
  },
};

/** Says whether a service is installed and runs. */
export const status: CommandModule = {
  async run(context: Context, _args: string[], options: { json?: boolean }): Promise<Ending> {
    const config = await context.config();
    const manager = managerOf(context, config);
    const written = existing(manager);
    const daemon = runningDaemon(config.home);
    const isActive = written !== undefined && succeeds(manager.probe);
    const facts = {
      manager: manager.name,
      file: manager.file,
      installed: written !== undefined,
      asWritten: written === manager.text,
      active: isActive,
      pid: daemon?.daemon?.service ? daemon.pid : null,
    };
    if (options.json) printData(context, facts);
    else if (!facts.installed) printLine(context, `not installed (${manager.file})`);
    else {
      printLine(context, `${isActive ? "running" : "not running"}${facts.pid === null ? "" : ` (pid ${facts.pid})`}  ${manager.file}`);
      if (!facts.asWritten) printLine(context, "The file is not what orchestrator service install --print shows.");
    }
    if (!facts.installed) return "notFound";
    return isActive ? "ok" : "failed";
  },
};

/** Has the service manager restart the daemon that it keeps, and waits until the new one has taken up what it found. */
export async function restartService(context: Context, config: Config, before: DaemonRecord, timeout: number): Promise<Ending> {
  const manager = managerOf(context, config);
  const program = programFile("cli");
  if (!existing(manager)?.includes(program)) {
    throw new UserError(`The daemon is a service, and ${manager.file} does not start this program (${program}).`, {
      hint: "orchestrator service install --force makes it so, after orchestrator stop --detach",
      exit: "conflict",
    });
  }
  const deadline = performance.now() + timeout * 1000;
  call(context, manager.restart);
  for (;;) {
    const daemon = runningDaemon(config.home);
    if (daemon?.daemon?.ready && (daemon.pid !== before.pid || daemon.start !== before.start)) {
      printLine(context, `${manager.name} has restarted the daemon (pid ${daemon.pid}).`);
      return "ok";
    }
    if (performance.now() > deadline) {
      throw new UserError(`${manager.name} was told to restart the daemon, but none has become ready within ${timeout} s.`, {
        hint: "orchestrator service status, and orchestrator logs --since 10m",
        exit: "tryLater",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function managerOf({ env }: Context, { file, home }: Config): Manager {
  const facts: ServiceFacts = {
    node: process.execPath,
    program: programFile("cli"),
    config: file,
    home,
    path: env.PATH ?? "",
    output: daemonOutputFile(home),
  };
  const user = env.HOME || homedir();
  if (process.platform === "darwin") return launchd(facts, user);
  if (process.platform === "linux") return systemd(facts, env.XDG_CONFIG_HOME || join(user, ".config"));
  throw new UserError(`There is no service for ${process.platform}.`, {
    hint: "orchestrator daemon --detach runs in the background as well",
    exit: "notFound",
  });
}

function systemd(facts: ServiceFacts, configDir: string): Manager {
  const systemctl = (...args: string[]) => ["systemctl", "--user", ...args];
  return {
    name: "systemd",
    file: join(configDir, "systemd", "user", unitName),
    text: systemdUnit(facts),
    start: [systemctl("daemon-reload"), systemctl("enable", "--now", unitName)],
    stop: [systemctl("disable", "--now", unitName)],
    forget: [systemctl("daemon-reload")],
    restart: [systemctl("restart", unitName)],
    probe: systemctl("is-active", "--quiet", unitName),
  };
}

function launchd(facts: ServiceFacts, user: string): Manager {
  const domain = `gui/${process.getuid?.() ?? ""}`;
  const file = join(user, "Library", "LaunchAgents", `${agentLabel}.plist`);
  return {
    name: "launchd",
    file,
    text: launchdAgent(facts),
    start: [["launchctl", "bootstrap", domain, file]],
    stop: [["launchctl", "bootout", `${domain}/${agentLabel}`]],
    forget: [],
    restart: [["launchctl", "kickstart", "-k", `${domain}/${agentLabel}`]],
    probe: ["launchctl", "print", `${domain}/${agentLabel}`],
  };
}

function existing({ file }: Manager): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

/** The service would find the lock taken, and give up. */
function refuseBesideDaemon(home: string): void {
  const daemon = runningDaemon(home);
  if (!daemon?.daemon || daemon.daemon.service !== null) return;
  throw new UserError(`A daemon that is no service runs for ${home} (pid ${daemon.pid}).`, {
    hint: "orchestrator stop --detach ends it and leaves its runs to the service",
    exit: "conflict",
  });
}

/** Throws a UserError (unsafe) with the lines that differ: a person, another PATH or another version wrote them. */
function refuseOthers({ file, text }: Manager, written: string, force: boolean): void {
  if (force) return;
  const linesOf = (all: string) => all.split("\n");
  const ours = new Set(linesOf(text));
  const theirs = new Set(linesOf(written));
  const differing = [
    ...linesOf(written).flatMap((line) => (ours.has(line) ? [] : [`  - ${line}`])),
    ...linesOf(text).flatMap((line) => (theirs.has(line) ? [] : [`  + ${line}`])),
  ];
  throw new UserError(`${file} is not what would be written now:\n${differing.join("\n")}`, {
    hint: "--force goes on all the same; install keeps the old file beside the new one",
    exit: "unsafe",
  });
}

function lingers(): boolean {
  return existsSync(join("/var/lib/systemd/linger", userInfo().username));
}

function succeeds([program = "", ...args]: string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

/** Runs commands of the service manager. Throws a UserError with what the first failing one said. */
function call(context: Context, commands: readonly string[][]): void {
  for (const [program = "", ...args] of commands) {
    const { status, error, stderr } = spawnSync(program, args, { encoding: "utf8", env: context.env as NodeJS.ProcessEnv });
    if (status === 0) continue;
    const why = error?.message ?? stderr.trim();
    throw new UserError(`${[program, ...args].join(" ")} failed${why ? `: ${why}` : ` with exit code ${status}`}`, {
      hint: "without a service manager: orchestrator daemon --detach",
    });
  }
}
