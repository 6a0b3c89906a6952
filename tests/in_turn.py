"""Runs what `python -m MODULE ARGUMENTS` runs, several of them in one process: each line of the first argument is one.

What all of them import is imported once. That each can be started alone is shown by the tests of each.
"""

import runpy
import shlex
import sys


def main() -> None:
    for line in sys.argv[1].splitlines():
        module, *arguments = shlex.split(line)
        sys.argv[1:] = arguments
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if ended.code:
                sys.exit(f"{line}: {ended.code}")


if __name__ == "__main__":
    main()
