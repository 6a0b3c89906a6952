"""Tests models under named protocols: `python -m rankpose.evaluate checkpoint=A,B protocol=aflw2000,biwi_fsanet`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from rankpose.command.configuration import check_own_keys, entry_point, quiet_libraries, texts_of
from rankpose.command.testing import (
    SEVERAL,
    check_place,
    default_place,
    noting,
    report,
    send,
    tell,
    tests_of,
)
from rankpose.data.record import Records
from rankpose.errors import ConfigError, one_line_errors
from rankpose.evaluation.scored import Evaluation, Failure
from rankpose.predictors import TablePredictor
from rankpose.run.keys import assignment, quoted


def with_several(arguments: Sequence[str]) -> list[str]:
    """The command line with one value of each key that may have several, which Hydra would take for a sweep.

    All of them are in the key `several`, which no file has.

    Raises:
        ConfigError: a key without a value, a value twice, or `-m`.
    """
    kept = []
    for argument in arguments:
        if argument in ("-m", "--multirun"):
            raise ConfigError(
                f"{argument}: {', '.join(SEVERAL)} take several values without it, into one report; leave it out."
            )
        key, equals, _ = argument.partition("=")
        if equals and key in SEVERAL:
            given = texts_of(argument)
            if not given:
                raise ConfigError(f"{argument}: names nothing.")
            twice = next((part for part in given if given.count(part) > 1), None)
            if twice is not None:
                raise ConfigError(f"{argument}: names {twice} twice.")
            kept += [assignment(key, given[0]), f"++several.{key}=[{','.join(map(quoted, given))}]"]
        else:
            kept.append(argument)
    return kept


@entry_point("evaluate", with_several)
@one_line_errors
def main(config: DictConfig) -> None:
    """Models, protocols, tests, report."""
    quiet_libraries()
    with open_dict(config):
        several: Any = OmegaConf.to_container(config.pop("several", OmegaConf.create()))
    check_own_keys(config, "evaluate")
    tests = tests_of(config, {key: [str(value) for value in values] for key, values in several.items()})
    out = Path(str(config.out)) if config.out else default_place(tests)
    check_place(out)
    records: dict[str, Records] = {}
    for test in tests:  # all before the first test: data that are missing are told at once
        if test.protocol.name not in records:
            records[test.protocol.name] = test.protocol.records()
        if not isinstance(test.predictor, TablePredictor):
            test.protocol.check_reach(records[test.protocol.name], test.predictor.crop)
    evaluations: list[Evaluation] = []
    failures: list[Failure] = []
    for test in tests:
        with noting(failures, str(test)):
            evaluations += test.evaluations(records[test.protocol.name])
    if evaluations:  # otherwise another process of a distributed test reports
        compared = report(tests, evaluations, out, failures)
        if config.wandb:
            send(evaluations, compared, out)
    tell(failures, len(tests))


if __name__ == "__main__":
    main()
