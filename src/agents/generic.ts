import type { Adapter } from "./agent.ts";
import { schemaNote } from "./args.ts";

/** Any other program: the prompt on stdin, the result on stdout, no memory of earlier runs. `name` is its name in the configuration. */
export function generic(name: string): Adapter {
  return {
    provider: "generic",
    capabilities: {
      sessionId: "none",
      resume: false,
      interactiveResume: false,
      model: false,
      maxTurns: false,
      maxUsd: false,
      allowedTools: false,
      readOnly: false,
      effort: false,
      outputSchema: false,
      mcpServers: false,
      structuredStream: false,
    },
    probing: null,
    repoSettings: [],
    suggestedArgs: [],

    command(request) {
      const ignored = [
        request.session.kind === "resume" ? "resuming a session" : undefined,
        request.model === undefined ? undefined : "model",
        request.maxTurns === undefined ? undefined : "maxTurns",
        request.allowedTools === undefined ? undefined : "allowedTools",
        request.readOnly ? "readOnly" : undefined,
        request.effort === undefined ? undefined : "effort",
        Object.keys(request.mcpServers ?? {}).length === 0 ? undefined : "mcpServers",
      ].filter((setting) => setting !== undefined);
      return {
        argv: [request.command, ...request.defaultArgs],
        env: {},
        files: {},
        stdout: "pump",
        stop: { signal: "SIGTERM", graceMs: 5000 },
        stdinPrefix: "",
        notes: [
          ...ignored.map((setting) => `agent "${name}" is not one we know how to tell about ${setting}; it has no effect there`),
          ...schemaNote(request, `agent "${name}"`),
        ],
      };
    },

    interactive() {
      return null;
    },

    configProblems() {
      return [];
    },
  };
}
