"""What does a project's dashboard look like? Its panels show the keys that runs log, see `docs/wandb.md`."""

import os
from collections.abc import Iterator
from typing import Any

from rankpose.errors import ConfigError, one_line
from rankpose.evaluation.protocol import HELD_OUT
from rankpose.pose import ANGLES
from rankpose.run.loggers import logged_in

STEP = "trainer/global_step"
TIME = "RelativeTime(Process)"
"""W&B measures the machine by time, not by step."""
ONLY_WITH_A_GPU = ("speed/gpu_memory_gib", "system/gpu.0.gpu", "system/gpu.0.memoryAllocated")
"""Keys that runs without a GPU do not have."""
LEARNING_RATE = "lr-.*"
"""Its keys name the optimizer: `lr-AdamW/pg1`."""
_TEST = f"evaluation/{HELD_OUT}"
_TIMEOUT_S = 30


def dashboard(entity: str, project: str, name: str = "RankPose") -> Any:
    """The workspace, not yet sent: a `wandb_workspaces.workspaces.Workspace`.

    Args:
        entity: user or team.
        project: of it.
        name: of the view, as the project lists it.

    Raises:
        ConfigError: `wandb-workspaces` is not installed.
    """
    _, ws = _packages()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            _section("Training", _training()),
            _section("Validation", _validation()),
            _section("Test and worst cases", _test()),
            _section("Ablation", _ablation()),
            _section("Speed and system", _system()),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=50),
        runset_settings=ws.RunsetSettings(
            pinned_columns=[*(f"summary:{key}" for key in ("test/mae", "test/pair_order")), "config:variant.value"]
        ),
    )


def keys_of(workspace: Any) -> Iterator[tuple[str, str]]:
    """What the panels of a workspace show: pairs of a kind and a key.

    Kinds are `history` (curves; of the machine `system/...`), `pattern` (a regular expression of such), `summary`,
    `config`, `media` and `table`; a configuration's key is dotted.
    """
    reports, _ = _packages()
    for section in workspace.sections:
        for panel in section.panels:
            if isinstance(panel, reports.LinePlot):
                yield from (("history", key) for key in [panel.x, *panel.y] if key != TIME)
                if panel.metric_regex:
                    yield "pattern", panel.metric_regex
            elif isinstance(panel, reports.MediaBrowser):
                yield from (("media", key) for key in panel.media_keys)
            elif isinstance(panel, reports.WeavePanelSummaryTable):
                yield "table", panel.table_name
            elif isinstance(panel, reports.BarPlot):
                yield from (_kind(metric) for metric in [*panel.metrics, panel.groupby])
            elif isinstance(panel, reports.ScatterPlot):
                yield from (_kind(metric) for metric in (panel.x, panel.y))
            elif isinstance(panel, reports.ParallelCoordinatesPlot):
                yield from (_kind(column.metric) for column in panel.columns)
            else:
                raise TypeError(f"{type(panel).__name__}: what does it show?")


def as_text(workspace: Any) -> str:
    """The workspace in words: a line for each section and panel."""
    lines = [f"{workspace.name}, for {workspace.entity}/{workspace.project}"]
    for section in workspace.sections:
        lines.append(f"  {section.name}")
        for panel in section.panels:
            only = type(workspace)(entity="", project="", sections=[type(section)(name="", panels=[panel])])
            keys = dict.fromkeys(key for _, key in keys_of(only) if key != STEP)
            title = f"{panel.title}: " if getattr(panel, "title", None) else ""
            lines.append(f"    {type(panel).__name__:24} {title}{', '.join(keys)}")
    return "\n".join(lines)


def save(workspace: Any) -> str:
    """Sends a workspace to W&B and gives its address.

    Raises:
        ConfigError: not logged in, no connection, or W&B refuses; says what to do.
    """
    place = f"{workspace.entity}/{workspace.project}"
    if not logged_in():
        raise ConfigError(
            f"{place}: W&B does not know you here: run `wandb login`, or set WANDB_API_KEY. To look at the workspace "
            "without, add --print."
        )
    # wandb waits for much longer by itself, and would talk about it
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", str(_TIMEOUT_S))
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        return str(workspace.save().url)
    except Exception as error:  # of requests, of GraphQL, of W&B: each raises its own
        said = one_line(error)
        raise ConfigError(
            f"{place}: W&B did not take the workspace ({said[:200]}). Is there a connection, does the project exist, "
            "and may you write to it? A project comes into being with its first run."
        ) from error


def _packages() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise ConfigError(
            "the package wandb-workspaces is not installed: pip install 'rankpose[dashboards]', or in a checkout "
            "pip install -e '.[dashboards]'."
        ) from error
    return reports, workspaces


def _section(name: str, panels: list[Any]) -> Any:
    _, ws = _packages()
    return ws.Section(name=name, panels=panels, is_open=True)


def _lines(title: str, *keys: str, unit: str | None = None, **options: Any) -> Any:
    reports, _ = _packages()
    axis = TIME if keys[0].startswith("system/") else STEP
    return reports.LinePlot(title=title, x=axis, y=list(keys), title_y=unit, **options)


def _training() -> list[Any]:
    reports, _ = _packages()
    return [
        _lines("Loss", "train/loss", log_y=True),
        _lines("Squared error term", "train/mse", log_y=True),
        _lines("Ranking term, without its weight", "train/rank"),
        _lines("Gradient, ranking / squared error", "train/gradient_ratio", log_y=True),
        _lines("Mean absolute error", "train/mae", unit="degrees"),
        _lines("Gradient norm, before clipping", "train/gradient_norm", log_y=True),
        reports.LinePlot(title="Learning rate", x=STEP, metric_regex=LEARNING_RATE),
    ]


def _validation() -> list[Any]:
    reports, _ = _packages()
    return [
        _lines("Mean absolute error", "val/mae", unit="degrees"),
        _lines("Pairs in the right order", "val/pair_order", unit="share"),
        _lines("Geodesic error", "val/geodesic", unit="degrees"),
        *(_lines(f"{angle.capitalize()} error", f"val/{angle}_mae", unit="degrees") for angle in ANGLES),
        reports.MediaBrowser(title="The same heads each time", media_keys=["val/heads"], num_columns=4),
    ]


def _test() -> list[Any]:
    reports, _ = _packages()
    figures = [*(f"Error by true {angle}" for angle in ANGLES), "Pair order by difference"]
    return [
        *(
            reports.MediaBrowser(title=figure, media_keys=[f"{_TEST}/{figure}, {HELD_OUT}"], num_columns=1)
            for figure in figures
        ),
        reports.MediaBrowser(title="Worst heads", media_keys=[f"{_TEST}/heads"], num_columns=4),
        reports.WeavePanelSummaryTable(table_name=f"{_TEST}/worst", layout=reports.Layout(w=24, h=12)),
        reports.WeavePanelSummaryTable(table_name="evaluation/scores", layout=reports.Layout(w=24, h=8)),
    ]


def _ablation() -> list[Any]:
    reports, _ = _packages()
    error, order = (reports.SummaryMetric(key) for key in ("test/mae", "test/pair_order"))
    weight, variant = reports.Config("loss.weight"), reports.Config("variant")
    columns = ["choices.representation", "choices.loss", "loss.weight", "data.images_per_identity", "seed"]
    return [
        reports.ScatterPlot(title="Error against ranking weight", x=weight, y=error, log_x=True),
        reports.ScatterPlot(title="Pair order against ranking weight", x=weight, y=order, log_x=True),
        *(
            reports.BarPlot(
                title=f"{name}, mean over seeds",
                metrics=[metric],
                groupby=variant,
                groupby_aggfunc="mean",
                groupby_rangefunc="stddev",
                max_bars_to_show=50,
            )
            for name, metric in (("Error", "test/mae"), ("Pair order", "test/pair_order"))
        ),
        reports.ParallelCoordinatesPlot(
            title="Choices and error",
            columns=[
                *(reports.ParallelCoordinatesPlotColumn(metric=reports.Config(column)) for column in columns),
                reports.ParallelCoordinatesPlotColumn(metric=error),
            ],
        ),
    ]


def _system() -> list[Any]:
    gpu_memory, gpu, gpu_share = ONLY_WITH_A_GPU
    return [
        _lines("Images a second", "speed/images_per_s"),
        _lines("Share of time waiting for data", "speed/waiting_share", range_y=(0.0, 1.0)),
        _lines("Peak GPU memory", gpu_memory, unit="GiB"),
        _lines("GPU at work", gpu, unit="%"),
        _lines("GPU memory in use", gpu_share, unit="%"),
        _lines("Processor", "system/cpu", unit="%"),
        _lines("Memory of the machine in use", "system/memory_percent", unit="%"),
    ]


def _kind(metric: Any) -> tuple[str, str]:
    reports, _ = _packages()
    if isinstance(metric, reports.Config):
        return "config", metric.name
    # a bar shows the last value of a curve, which is in the summary
    return "summary", metric if isinstance(metric, str) else metric.name
