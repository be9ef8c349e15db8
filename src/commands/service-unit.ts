/** Set for a daemon that a service manager starts, so that a restart goes through the manager. */
export const serviceVariable = "ORCHESTRATOR_SERVICE";

/** The name of the unit for systemd and the label for launchd. */
export const unitName = "orchestrator.service";
export const agentLabel = "io.orchestrator.daemon";

/** What a service runs, and where. All paths are absolute. */
export interface ServiceFacts {
  node: string;
  program: string;
  /** The configuration file. */
  config: string;
  home: string;
  path: string;
  /** Where launchd puts what the daemon prints. */
  output: string;
}

/** Exit codes after which starting again cannot help: wrong arguments, a daemon beside this one, an unsafe home, bad configuration. */
const hopeless = "2 4 5 8";

/** The unit file of a user's systemd. */
export function systemdUnit({ node, program, config, home, path }: ServiceFacts): string {
  // Variables are put into arguments, but not into the name of what is started.
  const command = (...args: string[]) => [quoted(node), ...[program, ...args].map((arg) => quoted(arg.replaceAll("$", "$$$$")))].join(" ");
  const variables = { ORCHESTRATOR_HOME: home, PATH: path, [serviceVariable]: "systemd" };
  return `[Unit]
Description=orchestrator daemon of ${escaped(home)}
StartLimitIntervalSec=600
StartLimitBurst=10

[Service]
Type=exec
ExecStart=${command("daemon", "--config", config)}
# Agents at work go on without the daemon, and the next one takes them up.
ExecStop=${command("stop", "--detach", "--config", config)}
KillMode=process
TimeoutStopSec=60
# One agent that takes all memory must not end the daemon.
OOMPolicy=continue
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=${hopeless}
SuccessExitStatus=130 143
${Object.entries(variables)
  .map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}`)
  .join("\n")}
WorkingDirectory=${escaped(home)}

[Install]
WantedBy=default.target
`;
}

/** `%` begins a specifier nearly everywhere in a unit. */
function escaped(text: string): string {
  return text.replaceAll("%", "%%").replaceAll("\\", "\\\\");
}

function quoted(text: string): string {
  return `"${escaped(text).replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}

/** The property list of a user's launchd. It knows no exit codes to give up at, and waits a minute between two starts. */
export function launchdAgent({ node, program, config, home, path, output }: ServiceFacts): string {
  const strings = (values: string[]) => values.map((value) => `    <string>${xml(value)}</string>`).join("\n");
  const variables = { ORCHESTRATOR_HOME: home, PATH: path, [serviceVariable]: "launchd" };
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${agentLabel}</string>
  <key>ProgramArguments</key>
  <array>
${strings([node, program, "daemon", "--quiet", "--config", config])}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
${Object.entries(variables)
  .map(([name, value]) => `    <key>${name}</key>\n    <string>${xml(value)}</string>`)
  .join("\n")}
  </dict>
  <key>WorkingDirectory</key>
  <string>${xml(home)}</string>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ThrottleInterval</key>
  <integer>60</integer>
  <key>AbandonProcessGroup</key>
  <true/>
  <key>ExitTimeOut</key>
  <integer>20</integer>
  <key>StandardOutPath</key>
  <string>${xml(output)}</string>
  <key>StandardErrorPath</key>
  <string>${xml(output)}</string>
</dict>
</plist>
`;
}

function xml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
