/** A session with MCP servers: `node host.ts <mcpServers as JSON>`. Prints each state and stays until a signal, or a line that says "exit". */
import { startMcpBridge, stateLine } from "../../planner/mcp-bridge.ts";

const bridge = startMcpBridge({
  servers: JSON.parse(process.argv[2] ?? "{}"),
  env: process.env,
  cwd: process.cwd(),
  version: "1",
  connectMs: 60_000,
  onChange: (name) => process.stdout.write(`${stateLine(name, bridge.states().get(name) ?? { state: "connecting" })}\n`),
});
process.stdin.on("data", () => process.exit(7));
