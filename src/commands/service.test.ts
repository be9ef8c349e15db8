import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProgram } from "../lib/find-program.ts";
import { runCli } from "../testing/daemon.ts";
import { backgroundDaemon } from "../testing/held-home.ts";
import { builtPrograms, type TestHome, testHome } from "../testing/home.ts";
import { tempDir } from "../testing/temp.ts";
import { launchdAgent, type ServiceFacts, systemdUnit } from "./service-unit.ts";

const facts: ServiceFacts = {
  node: "/opt/node 24/bin/node",
  program: '/opt/o"rch/100%/$HOME/dist/cli.js',
  config: "/opt/ada/.orchestrator/config.yaml",
  home: "/opt/ada/.orchestrator",
  path: "/usr/local/bin:/usr/bin:/bin",
  output: "/opt/ada/.orchestrator/logs/daemon.out",
};

/** A home for a user whose service manager notes what it is told, keeps no process, and calls the unit active while the file `active` exists. */
function serviceHome(script = ""): TestHome & { unit: string; calls(): string[] } {
  const home = testHome();
  const bin = join(home.dir, "bin");
  const calls = join(home.dir, "calls");
  const active = join(home.dir, "active");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "systemctl"),
    `#!/bin/sh
echo "$*" >> ${calls}
case "$*" in
  *enable*--now*) touch ${active} ;;
  *is-active*) exec test -e ${active} ;;
esac
case "$*" in *disable*) rm -f ${active} ;; esac
${script}
`,
  );
  chmodSync(join(bin, "systemctl"), 0o755);
  return {
    ...home,
    env: { ...home.env, PATH: `${bin}:${home.env.PATH}` },
    unit: join(home.env.HOME ?? "", ".config/systemd/user/orchestrator.service"),
    calls: () => (existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : []),
  };
}

describe("the unit of systemd", () => {
  it("keeps its children, gives up where starting again cannot help, and quotes what is special", () => {
    expect(systemdUnit(facts)).toMatchInlineSnapshot(`
      "[Unit]
      Description=orchestrator daemon of /opt/ada/.orchestrator
      StartLimitIntervalSec=600
      StartLimitBurst=10

      [Service]
      Type=exec
      ExecStart="/opt/node 24/bin/node" "/opt/o\\"rch/100%%/$$HOME/dist/cli.js" "daemon" "--config" "/opt/ada/.orchestrator/config.yaml"
      # Agents at work go on without the daemon, and the next one takes them up.
      ExecStop="/opt/node 24/bin/node" "/opt/o\\"rch/100%%/$$HOME/dist/cli.js" "stop" "--detach" "--config" "/opt/ada/.orchestrator/config.yaml"
      KillMode=process
      TimeoutStopSec=60
      # One agent that takes all memory must not end the daemon.
      OOMPolicy=continue
      Restart=on-failure
      RestartSec=5
      RestartPreventExitStatus=2 4 5 8
      SuccessExitStatus=130 143
      Environment="ORCHESTRATOR_HOME=/opt/ada/.orchestrator"
      Environment="PATH=/usr/local/bin:/usr/bin:/bin"
      Environment="ORCHESTRATOR_SERVICE=systemd"
      WorkingDirectory=/opt/ada/.orchestrator

      [Install]
      WantedBy=default.target
      "
    `);
  });

  const analyze = findProgram("systemd-analyze", process.env);
  it.skipIf(analyze === undefined)("is one that systemd-analyze finds nothing wrong with", () => {
    const dir = tempDir();
    const node = join(dir, "a node of 100% $HOME");
    writeFileSync(node, "#!/bin/sh\n", { mode: 0o755 });
    const unit = join(dir, "orchestrator.service");
    writeFileSync(unit, systemdUnit({ ...facts, node, home: dir, path: '/x y:/"z"' }));
    const output = execFileSync("sh", ["-c", `systemd-analyze verify --user --man=no ${unit} 2>&1 || echo failed`], {
      encoding: "utf8",
      env: { PATH: process.env.PATH, HOME: dir, XDG_RUNTIME_DIR: dir },
    });
    // Other units of the machine have problems of their own.
    expect(output.split("\n").filter((line) => line.includes("orchestrator.service") || line === "failed")).toEqual([]);
  });
});

it("the property list of launchd is well-formed XML and holds what it has to", () => {
  const text = launchdAgent({ ...facts, path: "/a&b:/<c>" });
  const open: string[] = [];
  for (const [, slash, name = "", empty] of text.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (empty) continue;
    if (slash) expect(open.pop()).toBe(name);
    else open.push(name);
  }
  expect(open).toEqual([]);
  expect(text.replace(/<[^<>]*>/g, "")).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/);
  expect(text).toContain("<string>/a&amp;b:/&lt;c&gt;</string>");
  expect(text).toContain("<key>AbandonProcessGroup</key>\n  <true/>");
});

describe.runIf(process.platform === "linux")("service", () => {
  it("--print shows the unit and touches nothing", async () => {
    const home = serviceHome();
    const { code, stdout } = await runCli(home, "service", "install", "--print");
    expect(code).toBe(0);
    expect(stdout).toContain(`Environment="ORCHESTRATOR_HOME=${home.home}"\nEnvironment="PATH=${home.env.PATH}"`);
    expect(stdout).toMatch(/^ExecStart="\/[^"]*node" "\/[^"]*\/cli\.[jt]s" "daemon" "--config" "\/[^"]*config.yaml"$/m);
    expect([home.calls(), existsSync(home.unit)]).toEqual([[], false]);
  });

  it("is installed, looked at, left alone when it is as it has to be, and uninstalled", async () => {
    const home = serviceHome();
    expect(await runCli(home, "service", "status")).toMatchObject({ code: 3, stdout: `not installed (${home.unit})\n` });
    const installed = await runCli(home, "service", "install");
    expect(installed).toMatchObject({ code: 0, stderr: "" });
    expect(installed.stdout).toContain("loginctl enable-linger");
    const unit = readFileSync(home.unit, "utf8");
    expect(unit).toBe((await runCli(home, "service", "install", "--print")).stdout);
    const start = ["--user daemon-reload", "--user enable --now orchestrator.service"];
    expect(home.calls().filter((call) => !call.includes("is-active"))).toEqual(start);
    expect((await runCli(home, "service", "install")).code).toBe(0);
    expect(home.calls().filter((call) => !call.includes("is-active"))).toEqual(start);
    const status = await runCli(home, "service", "status", "--json");
    expect({ code: status.code, ...JSON.parse(status.stdout) }).toEqual({
      code: 0,
      apiVersion: "1",
      data: { manager: "systemd", file: home.unit, installed: true, asWritten: true, active: true, pid: null },
    });
    expect(await runCli(home, "service", "uninstall")).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync(home.unit)).toBe(false);
    expect(home.calls().slice(-2)).toEqual(["--user disable --now orchestrator.service", "--user daemon-reload"]);
    expect((await runCli(home, "service", "uninstall")).code).toBe(0);
  });

  it("never replaces or removes a file that somebody edited unless told to, and keeps the old one then", async () => {
    const home = serviceHome();
    await runCli(home, "service", "install");
    const edited = `${readFileSync(home.unit, "utf8")}# mine\nNice=5\n`;
    writeFileSync(home.unit, edited);
    for (const verb of ["install", "uninstall"]) {
      const refused = await runCli(home, "service", verb);
      expect(refused).toMatchObject({ code: 5, stdout: "" });
      expect(refused.stderr).toContain("is not what would be written now:\n  - # mine\n  - Nice=5\n");
    }
    expect(readFileSync(home.unit, "utf8")).toBe(edited);
    expect((await runCli(home, "service", "status")).stdout).toContain("is not what orchestrator service install --print shows");
    expect((await runCli(home, "service", "install", "--force")).code).toBe(0);
    expect(readFileSync(`${home.unit}.old`, "utf8")).toBe(edited);
    expect(
      home
        .calls()
        .filter((call) => !call.includes("is-active"))
        .slice(-3),
    ).toEqual(["--user disable --now orchestrator.service", "--user daemon-reload", "--user enable --now orchestrator.service"]);
  });

  it("says what a service manager says that refuses, and refuses itself beside a daemon that is none", async () => {
    const home = serviceHome('case "$*" in *daemon-reload*) echo "Failed to connect to bus" >&2; exit 1 ;; esac');
    const failed = await runCli(home, "service", "install");
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain("systemctl --user daemon-reload failed: Failed to connect to bus");
    await runCli(home, "daemon", "--detach");
    backgroundDaemon(home);
    const refused = await runCli(home, "service", "install");
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain("orchestrator stop --detach");
    expect((await runCli(home, "stop")).code).toBe(0);
  });

  it("a daemon that is a service is restarted by its service manager", async () => {
    const home = serviceHome();
    await runCli(home, "service", "install");
    const service = { ...home, env: { ...home.env, ORCHESTRATOR_SERVICE: "systemd" } };
    await runCli(service, "daemon", "--detach");
    const first = backgroundDaemon(home);
    expect(first.daemon?.service).toBe("systemd");
    // What systemd would do.
    const { program } = builtPrograms();
    writeFileSync(
      join(home.dir, "bin", "systemctl"),
      `#!/bin/sh\n${process.execPath} ${program} stop --detach && ORCHESTRATOR_SERVICE=systemd ${process.execPath} ${program} daemon --detach\n`,
    );
    const restarted = await runCli(home, "restart");
    const second = backgroundDaemon(home);
    expect(restarted).toEqual({ code: 0, stdout: `systemd has restarted the daemon (pid ${second.pid}).\n`, stderr: "" });
    expect(second.pid).not.toBe(first.pid);
    writeFileSync(home.unit, "[Service]\nExecStart=/opt/old/cli.js\n");
    const elsewhere = await runCli(home, "restart");
    expect(elsewhere.code).toBe(4);
    expect(elsewhere.stderr).toContain("does not start this program");
    expect((await runCli(home, "stop")).code).toBe(0);
  });
});
