"""Executes a command that the kernel kills when the process that started it dies.

Run as a script: `die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]`. It is a program between
fork and exec, and not a `preexec_fn`, because Python code in a forked child can deadlock in a
process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks for the death signal, makes sure that it is not too late for it, and executes."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    # Other systems have no such request: there, children end when they are stopped in order.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("The parent process ended first.")
    try:
        os.execvp(command[0], command)  # noqa: S606  (a shell is the last thing wanted here)
    except OSError as error:
        sys.exit(f"Cannot start {command[0]}: {error.strerror}.")


if __name__ == "__main__":
    main()
