// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are references in a configuration
import { describe, expect, it } from "vitest";
import { claudeLaunch, codexLaunch, type LaunchRequest, plainLaunch } from "./launchers.ts";

const request: LaunchRequest = {
  command: "agent",
  defaultArgs: [],
  model: undefined,
  prompt: 'You plan.\nSay "yes" first.',
  skills: [{ name: "planner", description: "", for: "planner", file: "/skills/planner/SKILL.md", body: "", shadows: [], findings: [] }],
  readOnlyTools: ["status"],
  server: { command: "node", args: ["cli.js", "mcp"], env: ["HOME", "ORCHESTRATOR_HOME"] },
  mcpServers: {
    linear: { url: "https://linear.example/mcp", args: [], headers: { Authorization: "Bearer ${LINEAR_TOKEN}" } },
    files: { command: "files", args: ["--all"], env: { FILES_TOKEN: "${FILES_TOKEN}", PLAIN: "it's" } },
    lost: { command: "lost", args: [], env: { TOKEN: "${NOT_SET}" } },
  },
  from: { LINEAR_TOKEN: "linear-secret", FILES_TOKEN: "files-secret" },
  isContinued: false,
  dir: "/tmp/dir",
};

const env = {
  ORCHESTRATOR_MCP_LINEAR_0: "Bearer linear-secret",
  ORCHESTRATOR_MCP_FILES_0: "files-secret",
  ORCHESTRATOR_MCP_FILES_1: "it's",
};
const lost = "MCP server lost is not available: the environment variable NOT_SET is not set";

describe("launchers", () => {
  it("claude gets prompt, skills, tools and servers, and no secret outside its environment", () => {
    const launch = claudeLaunch({
      ...request,
      defaultArgs: ["--dangerously-skip-permissions", "--allowedTools", "Bash", "Edit", "--model", "opus"],
      model: "other",
      isContinued: true,
    });
    expect({ ...launch, argv: undefined, files: undefined }).toEqual({
      argv: undefined,
      files: undefined,
      env,
      copies: { "/skills/planner": "/tmp/dir/plugin/skills/planner" },
      notes: [
        "`--dangerously-skip-permissions` of defaultArgs would have plans written without asking; it was left out",
        "`--allowedTools Bash Edit` of defaultArgs would have plans written without asking; it was left out",
        lost,
      ],
    });
    const mcp = launch.argv[launch.argv.indexOf("--mcp-config") + 1] ?? "";
    expect(JSON.parse(mcp)).toEqual({
      mcpServers: {
        linear: { type: "http", url: "https://linear.example/mcp", headers: { Authorization: "${ORCHESTRATOR_MCP_LINEAR_0}" } },
        files: {
          command: "files",
          args: ["--all"],
          env: { FILES_TOKEN: "${ORCHESTRATOR_MCP_FILES_0}", PLAIN: "${ORCHESTRATOR_MCP_FILES_1}" },
        },
        orchestrator: { command: "node", args: ["cli.js", "mcp"] },
      },
    });
    expect(launch.argv.filter((arg) => arg !== mcp)).toEqual([
      ...["agent", "--model", "opus", "--append-system-prompt-file", "/tmp/dir/planner.md", "--mcp-config", "--strict-mcp-config"],
      ...["--setting-sources", "user", "--permission-mode", "default", "--allowedTools", "Read,Grep,Glob,LS,mcp__orchestrator__status"],
      ...["--disallowedTools", "Edit,Write,NotebookEdit", "--plugin-dir", "/tmp/dir/plugin", "--continue"],
    ]);
    expect(launch.files["/tmp/dir/planner.md"]).toBe(request.prompt);
    expect(JSON.stringify([launch.argv, launch.files])).not.toContain("secret");
  });

  it("codex gets the same in its own words", () => {
    const { argv, ...launch } = codexLaunch({ ...request, defaultArgs: ["--yolo", "-s", "danger-full-access"] });
    expect(launch).toEqual({
      env,
      files: {},
      copies: {},
      notes: [
        "`--yolo` of defaultArgs would have plans written without asking; it was left out",
        "`-s danger-full-access` of defaultArgs would have plans written without asking; it was left out",
        lost,
      ],
    });
    expect(argv).toEqual([
      ...["agent", "--sandbox", "read-only", "-c", 'approval_policy="on-request"'],
      ...["-c", 'developer_instructions="You plan.\\nSay \\"yes\\" first."'],
      ...["-c", 'mcp_servers.linear={url="https://linear.example/mcp",env_http_headers={Authorization="ORCHESTRATOR_MCP_LINEAR_0"}}'],
      "-c",
      'mcp_servers.files={command="/bin/sh",args=["-c","export FILES_TOKEN=\\"$ORCHESTRATOR_MCP_FILES_0\\"; export PLAIN=\\"$ORCHESTRATOR_MCP_FILES_1\\"; exec \\"$@\\"","sh","files","--all"],env_vars=["ORCHESTRATOR_MCP_FILES_0","ORCHESTRATOR_MCP_FILES_1"]}',
      "-c",
      'mcp_servers.orchestrator={command="node",args=["cli.js","mcp"],env_vars=["HOME","ORCHESTRATOR_HOME"],default_tools_approval_mode="prompt",tools={status={approval_mode="approve"}}}',
    ]);
    expect(codexLaunch({ ...request, isContinued: true }).argv.slice(0, 3)).toEqual(["agent", "resume", "--last"]);
  });

  it("another program is started as it is, with the prompt where a variable says", () => {
    expect(plainLaunch({ ...request, defaultArgs: ["--fast"] })).toMatchObject({
      argv: ["agent", "--fast"],
      env: { ORCHESTRATOR_PLANNER_PROMPT: "/tmp/dir/planner.md" },
      files: { "/tmp/dir/planner.md": request.prompt },
    });
  });
});
