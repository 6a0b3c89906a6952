"""Writes a data set into one packed file: `python -m rankpose.prepare data=300w_lp data.root=DIR`."""

import logging
from pathlib import Path

from omegaconf import DictConfig

from rankpose.command.configuration import build, check_own_keys, entry_point
from rankpose.command.places import check_data_there
from rankpose.errors import ConfigError, one_line_errors
from rankpose.run.directory import shown
from rankpose.run.keys import typed

log = logging.getLogger(__name__)


@entry_point("prepare")
@one_line_errors
def main(config: DictConfig) -> None:
    """Reads the folder's annotations, then packs its images."""
    check_own_keys(config, "prepare")
    if "sources" in config.data:
        raise ConfigError(
            "data=mixture: pack its sources one by one (data=synthetic, data=photographs, ...) and train with "
            "data.sources.NAME.packed=FILE."
        )
    check_data_there(config)
    from rankpose.data.packed.writing import prepare  # torch: only once the command line is understood

    root, max_angle = Path(str(config.data.root)), config.data.max_angle
    reader, crop = build(config.data.reader), build(config.crop)
    named = root.resolve() if root.name in ("", "..") else root  # "." has no name of its own
    out = Path(str(config.out or named.parent / f"{named.name}.arrow"))
    records = reader(root=root, max_angle=max_angle, strict=config.strict)
    log.info("%s", records.summary())
    packing = prepare(records, root, out, reader, max_angle, crop, config.strict, config.workers)
    log.info("%s: %s images of %s identities", shown(out), f"{packing.images:,}", f"{packing.identities:,}")
    if packing.rejects:
        table = out.with_suffix(".rejects.csv")
        log.info("left out %s, with reasons: %s", f"{len(packing.rejects):,}", shown(table))
    use, group = ("test on it", "protocol") if config.data.split is None else ("train from it", "data")
    log.info("%s with %s", use, typed(f"{group}.packed", shown(out)))


if __name__ == "__main__":
    main()
