"""Executes a command that the kernel kills when the process that started it dies.

Run as a script: `die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]`. It is a program, and not a
`preexec_fn`, because Python code in the forked child of a process with threads can deadlock.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks for the death signal, checks that the parent still runs, and executes the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # Other systems have no such request. Children end there when they are stopped in order.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("The parent process ended first.")
    try:
        os.execvp(command[0], command)  # noqa: S606  (no shell is wanted here)
    except OSError as error:
        sys.exit(f"Cannot start {command[0]}: {error.strerror}.")


if __name__ == "__main__":
    main()
