"""What a function process executes: `lambda_bootstrap.py SEARCH_PATH FUNCTION_NAME`.

Python starts it with `-I -S`, so it can import the standard library only, until it adds the search
path. The function's name is for people who read the process list.
"""

import os
import runpy
import sys


def main() -> None:
    """Hands over to AWS's runtime interface client, which imports the handler and serves it."""
    # Lambda's /var/task and /opt are read-only.
    sys.dont_write_bytecode = True
    # Python exports this where the machine lacks the locale that LANG names; Lambda does not.
    os.environ.pop("LC_CTYPE", None)
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    sys.argv[1:] = [os.environ["_HANDLER"]]
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
