/** Where package managers install what a project needs; git ignores these folders, so a fresh worktree has none of them. */
export const dependencyFolders = ["node_modules", ".venv", "venv"];
