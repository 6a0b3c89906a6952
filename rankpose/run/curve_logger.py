"""Who writes the curves of a run: Lightning's CSV logger, whose file a kill never leaves half rewritten."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger

from rankpose.files import write_whole
from rankpose.run.lightning_private import CurveWriter, begin, has_begun


class CurveLogger(CSVLogger):
    """Lightning's CSV logger, whose file is never half rewritten when a new column comes up."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if not has_begun(self):
            Path(self.root_dir).mkdir(parents=True, exist_ok=True)
            begin(self, _Writer(log_dir=self.log_dir))
        return super().experiment


class _Writer(CurveWriter):
    def rewrite(self, path: Path, columns: list[str]) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, text.getvalue())
