#!/usr/bin/env bash
# cleanup-worktree.sh <worktree> <branch>: removes the worktree, and the branch once it is merged. Unmerged work is kept.
# Exit 0: it is gone, or never was; 75: try later; else: failed.
set -euo pipefail

if [[ $# -ne 2 ]]; then
  echo "usage: cleanup-worktree.sh <worktree> <branch>" >&2
  exit 2
fi

# "--name=value" keeps a value that begins with a dash a value.
arguments=("--path=$1" "--branch=$2")
if [[ -n "${ORCH_REPO:-}" ]]; then
  arguments+=("--repo=$ORCH_REPO")
fi
exec "${ORCH_NODE:?is set by the runner}" "${ORCH_PROGRAM:?is set by the runner}" --config="${ORCH_CONFIG:?is set by the runner}" worktree remove "${arguments[@]}"
