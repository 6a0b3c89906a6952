"""From photographs and films to a folder of faces: what `rankpose.label` does first where no face box is known.

Each file's faces are told to a file of lines once they are written, from which a stopped run goes on.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg
from tqdm import tqdm

from rankpose.data.images import inside, read_file, size_and_time
from rankpose.data.readers.photographs import face_table, identities_of, tells_boxes
from rankpose.data.record import BadFile, people_of
from rankpose.errors import ConfigError, DatasetError
from rankpose.faces import FaceDetector
from rankpose.faces.cutting import CutOut, FilmSampling, Scissors, faces_in, people_in
from rankpose.faces.films import Film
from rankpose.faces.kinds import FILMS, PICTURES, files_in, is_film, spoken
from rankpose.faces.pictures import open_picture, picture_of
from rankpose.files import write_whole
from rankpose.run.directory import check_writable, shown

FACES_PARTIAL = "faces.partial"
"""In the folder of faces, while it is not finished."""
_QUALITY = 95
_BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Source:
    """A photograph or a film."""

    name: str
    """As tables call it."""
    place: str
    """For `rankpose.data.images.read_file`."""
    film: bool
    who: str
    """Whom a photograph shows: its largest face."""


def sources_in(root: Path, out: Path, table: str | None, columns: dict[str, str], identity: str | None) -> list[Source]:
    """The photographs and films of a folder, a zip file (photographs alone) or a table; or the one that is given.

    Args:
        root: folder or file.
        out: what lies below is none of them.
        table, columns, identity: as `data.` has them; a table lists photographs alone.

    Raises:
        RankPoseError: there is none, or the table tells where faces are.
    """
    films: list[str] = []
    if table is not None:
        rows = face_table(root, table, columns)
        if tells_boxes(rows):
            raise ConfigError(
                f"boxes=detector: data.table={table} tells where the faces are; leave one of the two out."
            )
        names = [str(name) for name in rows["image"]]
    elif root.is_dir():
        files = list(files_in(root, out))
        names = [spoken(file.relative_to(root)) for file in files if file.suffix.lower() in PICTURES]
        films = [spoken(file.relative_to(root)) for file in files if file.suffix.lower() in FILMS]
        rows = pd.DataFrame({"image": names})
    elif root.suffix.lower() == ".zip":
        rows = face_table(root)
        names = [str(name) for name in rows["image"]]
    else:
        names, films = ([], [root.name]) if is_film(root) else ([root.name], [])
        rows = pd.DataFrame({"image": names})
    if not names and not films:
        raise DatasetError(f"data.root={root}: holds no picture and no film.")
    if identity is not None and not names:
        raise ConfigError(f"data.identity={identity}: is for photographs; people of a film are numbered. Leave it out.")
    who = people_of(identity, names) if identity is not None else identities_of(rows, names)
    alone = root.is_file() and root.suffix.lower() != ".zip"
    return [
        Source(name, str(root) if alone else inside(root, name), name in set(films), person)
        for name, person in (*zip(names, who, strict=True), *((film, "") for film in films))
    ]


def faces_folder(root: Path, out: str | None, overwrite: bool) -> Path:
    """Where the faces go; raises `ConfigError` where something else is, or nothing can be written."""
    whole = root.resolve()
    folder = Path(out) if out else whole.with_name(f"{whole.stem if whole.is_file() else whole.name}_faces")
    if folder.suffix in (".csv", ".parquet"):
        raise ConfigError(f"out={folder}: found faces are written into a folder, with their table; name a folder.")
    check_writable(folder)
    if whole.is_relative_to(folder.resolve()):
        raise ConfigError(f"out={folder}: holds what is looked at; name another folder.")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if there and FACES_PARTIAL not in there and not overwrite:
        what = "poses.csv" if "poses.csv" in there else there[0]
        raise ConfigError(
            f"out={shown(folder)}: {what} is there already; overwrite=true writes over it, out=FOLDER elsewhere."
        )
    return folder


@dataclass
class Gathering:
    """Writes the faces of photographs and films into a folder.

    Args:
        out: the folder.
        detector: finds them.
        scissors: cut them out.
        sampling: of films.
    """

    out: Path
    detector: FaceDetector
    scissors: Scissors
    sampling: FilmSampling

    def __post_init__(self) -> None:
        self.partial = self.out / FACES_PARTIAL
        self._taken: set[str] = set()

    def __call__(self, sources: Sequence[Source], question: Any) -> tuple[pd.DataFrame, dict[str, str]]:
        """Writes what is not there yet.

        Args:
            sources: the files.
            question: what the answer depends on besides, for JSON.

        Returns:
            a row a face (`image`, `identity`, the face box, `source`, and of films `frame` and `time` in seconds), and
            by source, what could not be read.
        """
        asked = [question, asdict(self.scissors), asdict(self.sampling), [vars(one) for one in sources]]
        states = [size_and_time(source.place) for source in sources]
        digest = hashlib.sha256(json.dumps([*asked, states], default=str).encode()).hexdigest()
        done = self._done(digest)
        self._taken = {face["image"].casefold() for line in done.values() for face in line["faces"]}
        self.out.mkdir(parents=True, exist_ok=True)
        write_whole(self.partial, "\n".join([digest, *map(json.dumps, done.values())]) + "\n")
        pictures = sum(not source.film for source in sources)
        with (
            self.partial.open("a", encoding="utf-8") as file,
            tqdm(total=pictures, unit="picture", disable=None if pictures > 1 else True) as bar,
        ):
            for source in sources:
                if source.name not in done:
                    line = self._of_film(source) if source.film else self._of_picture(source)
                    done[source.name] = line
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    if line["failure"]:
                        tqdm.write(line["failure"], file=sys.stdout)
                bar.update(not source.film)
        faces = [face | {"source": source.name} for source in sources for face in done[source.name]["faces"]]
        return pd.DataFrame(faces), {name: line["failure"] for name, line in done.items() if line["failure"]}

    def _done(self, digest: str) -> dict[str, Any]:
        """By source, what a run before this one found that asked the same."""
        if not self.partial.is_file():
            return {}
        first, *lines = self.partial.read_text(encoding="utf-8").splitlines()
        if first != digest:
            return {}
        # the last line may be cut off
        found = [json.loads(line) for line in lines if line.endswith("}")]
        if found:
            tqdm.write(f"going on after {len(found):,} files", file=sys.stdout)
        return {line["source"]: line for line in found}

    def _of_picture(self, source: Source) -> dict[str, Any]:
        try:
            zipped = ".zip#" in source.place.lower()
            picture = (
                picture_of(read_file(source.place, "image file"), Path(source.place))
                if zipped
                else open_picture(source.place)
            )
        except (DatasetError, BadFile) as error:
            failure = f"{source.place}: {error.reason}." if isinstance(error, BadFile) else str(error)
            return {"source": source.name, "faces": [], "failure": failure}
        faces = []
        for number, cut in enumerate(faces_in(picture.image, self.detector, self.scissors), 1):
            # who else is in a picture of somebody is not known
            who = source.who if number == 1 else f"{source.name} face {number}"
            name = str(PurePosixPath(source.name).with_suffix("")) + ("" if number == 1 else f"_face{number}")
            faces.append(self._written(name, who, cut))
        return {"source": source.name, "faces": faces, "failure": ""}

    def _of_film(self, source: Source) -> dict[str, Any]:
        stem = str(PurePosixPath(source.name).with_suffix(""))
        faces: dict[tuple[int, int], dict[str, Any]] = {}
        failure = ""
        try:
            with Film(source.place) as film:
                frames = people_in(film, self.detector, self.scissors, self.sampling)
                for seen in tqdm(frames, source.name, film.expected or None, unit="frame", disable=None):
                    for one in seen:
                        for frame in one.let_go:
                            gone = faces.pop((one.person, frame))
                            (self.out / gone["image"]).unlink(missing_ok=True)
                        who = f"{stem}/person{one.person}"
                        face = self._written(f"{who}/{one.frame:06d}", who, one.cut)
                        faces[one.person, one.frame] = face | {"frame": one.frame, "time": round(one.time, 3)}
            if film.damage:
                failure = f"{source.place}: {film.damage}; what could be read is kept."
        except DatasetError as error:
            failure = str(error)
        return {"source": source.name, "faces": list(faces.values()), "failure": failure}

    def _written(self, name: str, who: str, cut: CutOut) -> dict[str, Any]:
        """Writes a face under a name that no other has, and gives its row."""
        # a drive of Windows, or a folder above, is a name like any other
        parts = [part.replace(":", "_") for part in PurePosixPath(name).parts if part not in ("/", "..")]
        plain = "/".join(parts) or "face"
        free, number = plain, 2
        while f"{free}.jpg".casefold() in self._taken:
            free, number = f"{plain}_{number}", number + 1
        self._taken.add(f"{free}.jpg".casefold())
        content = simplejpeg.encode_jpeg(np.ascontiguousarray(cut.image), quality=_QUALITY, colorsubsampling="444")
        write_whole(self.out / f"{free}.jpg", content)
        box = dict(zip(_BOX, cut.face_box.round(2).tolist(), strict=True))
        return {"image": f"{free}.jpg", "identity": who, **box}
