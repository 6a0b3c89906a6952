"""A page in the browser that says how heads are turned: `python -m rankpose.demo`."""

from omegaconf import DictConfig

from rankpose.command.configuration import entry_point
from rankpose.errors import one_line_errors
from rankpose.files import model_file


@entry_point("demo")
@one_line_errors
def main(config: DictConfig) -> None:
    """The model, the page, the server until Ctrl-C."""
    from rankpose.command.asked import model_asked_of  # no torch: the model is there

    model = model_asked_of(config)
    model_file(model)
    from rankpose.command.serving import serve  # torch: only once that is settled

    serve(config, model)


if __name__ == "__main__":
    main()
