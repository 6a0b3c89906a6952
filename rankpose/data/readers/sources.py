"""Where data sets come from: what to say where one is missed. Imports nothing large."""

from dataclasses import dataclass
from pathlib import Path

from rankpose.errors import DatasetNotFoundError


@dataclass(frozen=True)
class Source:
    """A data set that users bring.

    Args:
        name: as its authors call it.
        how: what to download, and which key says where it is.
        place: what `data.root` names.
    """

    name: str
    how: str
    place: str = "folder"

    def missing(self, root: object, what: str | None = None, how: str | None = None) -> DatasetNotFoundError:
        """The error for data that are not where they should be: names the folder and the ways out."""
        what = what or f"no such {self.place}"
        return DatasetNotFoundError(
            f"{self.name}: {what} in {root}. {how or self.how} Without any download, use data=synthetic."
        )


AFLW2000 = Source(
    "AFLW2000-3D",
    "Download AFLW2000-3D.zip from its authors' page (3DDFA, CVPR 2016), unpack it, and set data.root (in evaluation "
    "roots.aflw2000) to the folder that holds image00002.jpg and its .mat; data/README.md has the details.",
)
BIWI = Source(
    "BIWI",
    "Download kinect_head_pose_db.tgz from its authors' page (ETH Zurich), unpack it, and set data.root (in "
    "evaluation roots.biwi) to the folder that holds 01 to 24; data/README.md has the details.",
)
PHOTOGRAPHS = Source(
    "photographs",
    "Set data.root to a folder or zip file of pictures, and data.reader.table to their table (image,yaw,pitch,roll).",
    "folder or zip file",
)
W300LP = Source(
    "300W-LP",
    "Download 300W-LP.zip from its authors' page (3DDFA, CVPR 2016), unpack it, and set data.root (in evaluation "
    "roots.w300lp) to the folder that holds AFW, HELEN, IBUG, LFPW and their _Flip; data/README.md has the details.",
)
BY_READER = {
    "rankpose.data.readers.aflw2000.read_aflw2000": AFLW2000,
    "rankpose.data.readers.biwi.read_biwi": BIWI,
    "rankpose.data.readers.photographs.read_photographs": PHOTOGRAPHS,
    "rankpose.data.readers.w300lp.read_300w_lp": W300LP,
}


def check_there(reader: str, root: str) -> None:
    """Raises where a reader, named by its path, would miss its folder; says nothing of readers that others wrote."""
    source = BY_READER.get(reader)
    if source is not None and not Path(root).exists():
        raise source.missing(root)
