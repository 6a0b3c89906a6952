"""Poses of anybody's pictures and films: `python -m rankpose.predict photo.jpg checkpoint=RUN`."""

from omegaconf import DictConfig

from rankpose.command.bare_input import with_input
from rankpose.command.configuration import entry_point
from rankpose.errors import one_line_errors
from rankpose.files import model_file


@entry_point("predict", with_input)
@one_line_errors
def main(config: DictConfig) -> None:
    """What is asked of which files, the model, the answers."""
    from rankpose.command.asked import asked_of  # no torch: what is asked for is there, and its place is free

    asked = asked_of(config)
    model_file(asked.model)
    from rankpose.command.predicting import predict  # torch: only once all that is settled

    predict(config, asked)


if __name__ == "__main__":
    main()
