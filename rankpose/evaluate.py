"""Tests models under named protocols: `python -m rankpose.evaluate checkpoint=A,B protocol=aflw2000,biwi_fsanet`."""

from omegaconf import DictConfig

from rankpose.command.configuration import entry_point
from rankpose.command.several import with_several
from rankpose.errors import one_line_errors
from rankpose.files import checkpoint_file


@entry_point("evaluate", with_several)
@one_line_errors
def main(config: DictConfig) -> None:
    """Models, protocols, tests, report."""
    several = config.get("several") or {}
    for checkpoint in several.get("checkpoint", [config.checkpoint]):
        if checkpoint is not None:
            checkpoint_file(str(checkpoint))  # there before anything large is imported
    from rankpose.command.testing import evaluate_all  # torch and Lightning: only once the command line is understood

    evaluate_all(config)


if __name__ == "__main__":
    main()
