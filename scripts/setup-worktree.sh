#!/usr/bin/env bash
# setup-worktree.sh <repo> <branch> <worktree>: makes the worktree, or leaves it as it is when it is there already.
# The branch starts from ORCH_BASE_SHA or ORCH_BASE. Exit 0: it is there; 75: try later; else: failed.
set -euo pipefail

if [[ $# -ne 3 ]]; then
  echo "usage: setup-worktree.sh <repo> <branch> <worktree>" >&2
  exit 2
fi

# "--name=value" keeps a value that begins with a dash a value.
exec "${ORCH_NODE:?is set by the runner}" "${ORCH_PROGRAM:?is set by the runner}" --config="${ORCH_CONFIG:?is set by the runner}" worktree ensure "--repo=$1" "--branch=$2" "--path=$3"
