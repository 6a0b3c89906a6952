"""How does a lab give its model to others? As a folder of Hugging Face's hub: weights, what they are of, and a card.

    estimator = rankpose.load("runs/DATE/TIME")
    estimator.save_pretrained("my-model", model_card_kwargs={"trained_on": "...", "licence": "cc-by-4.0"})
    estimator.push_to_hub("lab/my-model", model_card_kwargs=...)
    rankpose.Estimator.from_pretrained("lab/my-model")

The folder holds `model.safetensors`, `config.json` (`rankpose.models.checkpoint.MadeFrom`) and the card, `README.md`.
Nothing in it is run when it is loaded.
"""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from rankpose.errors import CheckpointError, ConfigError, first_line
from rankpose.files import DESCRIPTION, PUBLISHED, checkpoint_file, shipped_models
from rankpose.models.checkpoint import MadeFrom, write_folder
from rankpose.models.pretrained import no_endless_tries
from rankpose.models.shipped import read_card
from rankpose.predictors import Predictor
from rankpose.predictors.checkpoint import CheckpointPredictor

_SAID = ("summary", "trained_on", "licence", "figures")
"""What a card says of a model and only its maker knows: keys of `model_card_kwargs`."""
_CARD = """---
{{ card_data }}
---

# A head-pose model of RankPose

{{ summary or "A picture of a head to its yaw, pitch and roll." }}

```python
import rankpose

estimator = rankpose.Estimator.from_pretrained("OWNER/NAME")  # of the hub, or the folder that this file lies in
for head in estimator("photo.jpg"):
    print(head.box, head.yaw, head.pitch, head.roll, head.score)
```

| | |
| --- | --- |
{% for name, value in facts.items() -%}
| {{ name }} | {{ value }} |
{% endfor %}
Angles are in degrees with the signs of 300W-LP: positive yaw turns the face to the left of the picture, positive pitch
lifts the chin, positive roll tilts the head clockwise.

## Trained on

{{ trained_on or "Its maker has not said." }}

## Figures

{{ figures or "Its maker has not said." }}

## Licence

{{ licence or "Its maker has not said." }}
"""


class Published(ModelHubMixin, library_name="rankpose", tags=["head-pose-estimation"], model_card_template=_CARD):
    """What an estimator has of Hugging Face's mixin: `save_pretrained`, `from_pretrained`, `push_to_hub`."""

    predictor: Predictor

    @classmethod
    def _of(cls, folder: Path, **options: Any) -> Self:
        """The one of a folder; options are those of `rankpose.load`."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """The estimator of a folder that `save_pretrained` wrote, or of a model of the hub.

        Args:
            pretrained_model_name_or_path: the folder, or OWNER/NAME.
            force_download, token, cache_dir, local_files_only, revision: see `huggingface_hub.snapshot_download`.
            model_kwargs: `detector` and `device` of `rankpose.load`.

        Raises:
            CheckpointError: no such folder or model, a hub out of reach, or a folder that holds no model of ours.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            name = str(pretrained_model_name_or_path)
            try:
                with no_endless_tries():
                    folder = Path(
                        snapshot_download(
                            name,
                            revision=revision,
                            cache_dir=cache_dir,
                            force_download=force_download,
                            local_files_only=local_files_only,
                            token=token,
                            allow_patterns=[PUBLISHED, DESCRIPTION],
                        )
                    )
            except (OSError, ValueError) as error:  # all that the hub's client says is one of these
                raise CheckpointError(
                    f"from_pretrained({name!r}): is no folder here, and {_not_had(error)}."
                ) from error
        return cls._of(folder, **model_kwargs)

    def _save_pretrained(self, save_directory: Path) -> None:
        network = self._network()
        write_folder(network.net, network.made_from, save_directory)

    def generate_model_card(self, *args: Any, **said: Any) -> ModelCard:
        """The card: facts of the network, and what its maker says of it (`_SAID`); a shipped model's is known."""
        unknown = next((key for key in said if key not in _SAID), None)
        if unknown is not None:
            raise ConfigError(f"model_card_kwargs: {unknown} is none of {', '.join(_SAID)}.")
        network = self._network()
        said = _shipped(network.checkpoint) | said
        licence = str(said.get("licence", ""))
        data = copy(self._hub_mixin_info.model_card_data)
        # the hub has a name for each licence that is one of the known ones
        data.license = (licence if re.fullmatch(r"[a-z0-9.-]+", licence) else "other") if licence else None
        card = dict.fromkeys(_SAID) | said | {"facts": _facts(network.made_from, network)}
        made: ModelCard = ModelCard.from_template(data, template_str=_CARD, **card)
        return made

    def _network(self) -> CheckpointPredictor:
        if not isinstance(self.predictor, CheckpointPredictor):
            raise ConfigError(
                "save_pretrained: only a network of rankpose.train can be saved so, not what answers here, "
                f"{type(self.predictor).__name__}. An ONNX file is sent with the description beside it."
            )
        return self.predictor


def _not_had(error: Exception) -> str:
    """Why the hub did not give a model."""
    if isinstance(error, LocalEntryNotFoundError):
        return "the hub cannot be reached, nor does its cache hold a model of that name"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no model of that name, or shows it to others alone (token=)"
    return f"could not be had from the hub ({first_line(error).split('. ')[0].rstrip('.')})"


def _facts(made_from: MadeFrom, network: CheckpointPredictor) -> dict[str, str]:
    weights = sum(weight.numel() for weight in network.parameters())
    size = made_from.image_size
    return {
        "backbone": f"`{made_from.backbone['name']}` of timm",
        "representation": f"`{made_from.representation['choice']}`",
        "weights": f"{weights:,}",
        "input": f"{size} x {size} pixels, {made_from.test_scale:g} times the box of 68 landmarks, brows to chin",
    }


def _shipped(checkpoint: str | Path) -> dict[str, Any]:
    """What the card of a model that comes with the package says; nothing of any other."""
    if checkpoint_file(checkpoint) not in shipped_models().values():
        return {}
    card = read_card(checkpoint)
    figures = f"Errors in degrees.\n\n{_table(card.figures)}"
    return {"summary": card.summary, "trained_on": card.trained_on, "licence": card.licence, "figures": figures}


def _table(figures: Sequence[Mapping[str, Any]]) -> str:
    keys = ("yaw", "pitch", "roll", "mae")
    rows = [["tested on", "images", *keys, "by"], ["---"] * (len(keys) + 3)]
    rows += [
        [figure["protocol"], f"{figure['images']:,}", *(f"{figure[key]:.2f}" for key in keys), f"`{figure['command']}`"]
        for figure in figures
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
