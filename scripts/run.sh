#!/usr/bin/env bash
# run.sh [branch] [worktree]: shows that a script phase runs and what it is given.
set -euo pipefail

echo "=== orchestrator test script ==="
echo "branch: ${1:-(none)}"
echo "worktree: ${2:-(none)}"
echo "=== done ==="
