"""Builds a project's dashboard in W&B, the same one for every user.

    python -m rankpose.workspace ENTITY/PROJECT [--name NAME] [--print]

Each call makes a new saved view of the project and leaves those that are there as they are. The panels show the keys
that runs log, see `docs/wandb.md`.
"""

import argparse
import sys

from rankpose.errors import ConfigError, one_line_errors


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rankpose.workspace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="a user or team, and a project that has runs")
    parser.add_argument("--name", default="RankPose", help="of the view; default: %(default)s")
    parser.add_argument("--print", action="store_true", dest="only_print", help="show it here and send nothing")
    given = parser.parse_args()
    entity, slash, project = given.project.partition("/")
    if not (entity and slash and project) or "/" in project:
        raise ConfigError(f"{given.project}: write ENTITY/PROJECT, as in the address of the project in W&B.")
    from rankpose.report.dashboard import as_text, dashboard, save  # only once the command line is understood

    workspace = dashboard(entity, project, given.name)
    if given.only_print:
        sys.stdout.write(as_text(workspace) + "\n")
    else:
        print(f"workspace: {save(workspace)}")


if __name__ == "__main__":
    main()
