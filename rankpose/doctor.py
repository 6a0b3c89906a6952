"""What is here, what is wrong with it, and what is the way out?

    python -m rankpose.doctor [roots.aflw2000=DIR ...] [--json]

Says what a maintainer would ask: versions, devices, the precision that is faster, data and weights that are found, and
disk. The exit code is 1 where something that is needed is broken, or a folder that was named is not there.
"""

import argparse
import sys

from rankpose.errors import one_line_errors


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rankpose.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("roots", nargs="*", metavar="roots.NAME=PATH", help="where data lie, as for rankpose.evaluate")
    parser.add_argument("--json", action="store_true", help="the same for programs")
    given = parser.parse_args()
    from rankpose.command.examining import as_json, as_text, broken, examine

    findings = examine(given.roots)
    sys.stdout.write(as_json(findings) if given.json else as_text(findings))
    sys.exit(1 if broken(findings) else 0)


if __name__ == "__main__":
    main()
