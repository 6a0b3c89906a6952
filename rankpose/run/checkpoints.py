"""How a checkpoint gets onto a disk: whole or not at all.

Lightning's own way writes to a temporary file in the system's folder and moves it, which between two file systems is a
copy into the final name: a kill or a full disk half way leaves half a checkpoint where a good one was.
"""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from rankpose.files import NO_ROOM, write_whole
from rankpose.run.directory import no_room


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the final name, waits until the disk has it, and renames: the name never holds half a checkpoint.

    A Lightning plugin, for one process, DDP, and FSDP with a full state dict. A sharded FSDP checkpoint is a folder
    that the processes write together: that stays Lightning's business.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """As Lightning calls it, on the first process.

        Raises:
            TrainingError: the disk is full; what was at `path` is still there.
        """
        path = Path(path)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            write_whole(path, buffer.getbuffer(), synced=True)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise no_room(path.parent.parent, f"{path.name} ({buffer.tell() / 1e6:,.1f} MB)", error) from error
