"""Which configuration is best, over seeds? Gathers runs into the table of a paper.

`python -m rankpose.compare RUNS... [--out FOLDER] [--baseline KEY=VALUE,...]`
"""

import argparse
from pathlib import Path

from rankpose.errors import ConfigError, one_line_errors
from rankpose.run.directory import check_folders, shown
from rankpose.run.keys import from_home


def wanted_baseline(text: str) -> dict[str, str]:
    """`representation=euler,loss=mse` as keys and values.

    Raises:
        ConfigError: a part without `=`.
    """
    parts = [part.strip().partition("=") for part in text.split(",")]
    if not all(key and equals and value for key, equals, value in parts):
        raise ConfigError(
            f"--baseline {text}: write KEY=VALUE, several with commas, as in representation=euler,loss=mse."
        )
    return {key: value for key, _, value in parts}


def _path(text: str) -> Path:
    # a shell leaves `--out=~/x` as it is
    return Path(from_home(text))


@one_line_errors
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rankpose.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=_path, metavar="RUNS", help="folders of runs or of sweeps")
    parser.add_argument(
        "--out", type=_path, help="where the tables go; by default `comparison` in the one folder given, else here"
    )
    parser.add_argument(
        "--baseline",
        help="what the others are compared with, by keys that differ; where it fits several configurations (loss=mse), "
        "each is compared with the one that has its other values. Default: the first",
    )
    given = parser.parse_args()
    baseline = None if given.baseline is None else wanted_baseline(given.baseline)
    check_folders(given.runs)
    from rankpose.evaluation.runs import find_runs  # only once the command line is understood
    from rankpose.report.ablation import make_ablation, to_text, write_ablation

    ablation = make_ablation(find_runs(given.runs), baseline)
    out = given.out or (given.runs[0] if len(given.runs) == 1 else Path()) / "comparison"
    page = write_ablation(out, ablation)
    print(to_text(ablation))
    print(f"report: {shown(page)}")


if __name__ == "__main__":
    main()
