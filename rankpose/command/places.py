"""Are the data there? Asked before torch is imported."""

from omegaconf import DictConfig

from rankpose.data.readers.sources import check_there


def check_data_there(config: DictConfig) -> None:
    """Looks for the folder of each data set that a configuration trains on or packs.

    Raises:
        DatasetNotFoundError: one is not there.
    """
    data = config.get("data")
    if not isinstance(data, DictConfig):
        return  # refused where it is used
    for one in (data.get("sources") or {"": data}).values():
        reader = one.get("reader") if isinstance(one, DictConfig) else None
        if isinstance(reader, DictConfig) and not one.get("packed") and one.get("root"):
            check_there(str(reader.get("_target_")), str(one.root))
