const codes = ["EMFILE", "ENFILE", "ENOSPC", "EDQUOT", "EIO", "EAGAIN", "ENOMEM"];

/** Whether an error is one of a full or busy machine: it says nothing about what was looked at, and may be gone at the next look. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return codes.includes(String((error as NodeJS.ErrnoException).code)) || isPassing(error.cause);
}
