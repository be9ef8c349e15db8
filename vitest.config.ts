import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Real processes and real git on two cores: generous limits, never sleeps.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    globalSetup: "src/testing/built-program.ts",
    // Most tests wait for processes rather than compute.
    maxWorkers: 3,
    // Shims start from their sources hundreds of times; Node keeps what it made of them the first time.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules", ".cache", "compile") },
  },
});
