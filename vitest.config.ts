import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Real processes and real git on two cores: generous limits, never sleeps.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Most tests wait for processes rather than compute.
    maxWorkers: 2,
  },
});
