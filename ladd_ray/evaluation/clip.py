"""CLIP score through open-clip, an optional library, with weights that the user gives: nothing is ever fetched.

Shapes: n pictures, h w height and width in pixels, last axis red, green, blue; e embedding width.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ladd_ray.evaluation.metrics import Asked, Pictures

BATCH_SIZE = 32
"""Pictures and prompts embedded at once."""
CLIP_DEFINITION = "mean of max(100 cos(picture, prompt), 0) (Hessel et al. 2021, as torchmetrics scales it)"


@dataclass(frozen=True)
class ClipScore:
    """How well pictures agree with their prompts in CLIP's eyes."""

    value: float
    num_pictures: int
    name: str
    """Says which CLIP."""
    definition: str = CLIP_DEFINITION

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class ClipScorer:
    """Cosines of pictures and prompts under one CLIP; runs on the CPU, so that scores do not depend on the machine."""

    name: Final = "clip"

    def __init__(self, model: str, weights: Path) -> None:
        """Load an architecture that open-clip knows by name, with weights from a file.

        Raises:
            ModuleNotFoundError: open-clip is missing; says how to install it.
            ValueError: the file is missing, or the architecture unknown or one that fetches its tokenizer.
        """
        library = require_clip(model, weights)
        self._label = clip_label(model, weights)
        self._model, _, self._prepare = library.create_model_and_transforms(model, pretrained=str(weights))
        self._model.eval().requires_grad_(False)
        self._tokenize = library.get_tokenizer(model)

    def __call__(self, pictures: Pictures, asked: Asked, /) -> dict[str, Any]:
        cosines: list[float] = []
        for start in range(0, len(pictures), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            cosines += self._cosines(pictures[part], asked.prompts[part]).tolist()
        value = mean(max(100 * cosine, 0.0) for cosine in cosines)
        return {"clip": ClipScore(value, len(cosines), name=f"CLIP score-{self._label}").to_dict()}

    @torch.inference_mode()
    def _cosines(self, pictures: Pictures, prompts: tuple[str, ...]) -> Tensor:
        """Cosines (n)."""
        images = torch.stack([self._prepared(picture) for picture in pictures])
        texts = self._tokenize(list(prompts))
        return F.cosine_similarity(self._model.encode_image(images), self._model.encode_text(texts), dim=-1)

    def _prepared(self, picture: NDArray[np.uint8]) -> Tensor:
        prepared: Tensor = self._prepare(Image.fromarray(picture))
        return prepared


def clip_label(model: str, weights: Path) -> str:
    """The architecture, and 16 hex digits that change with the weights."""
    with weights.open("rb") as stream:
        return f"{model} {hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


def require_clip(model: str, weights: Path) -> Any:
    """open-clip, after checks that nothing is missing.

    Raises:
        ModuleNotFoundError: open-clip is missing; says how to install it.
        ValueError: the file is missing, or the architecture unknown or one that fetches its tokenizer.
    """
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is missing, which CLIP scores need: pip install 'ladd-ray[clip]'", name=error.name
        ) from error
    if not weights.is_file():
        raise ValueError(f"no CLIP weights at {weights}: set clip.weights to a file of open-clip weights")
    # "hf-hub:..." names a model to fetch.
    config = None if ":" in model else open_clip.get_model_config(model)
    if config is None:
        raise ValueError(f"open-clip has no architecture {model!r}: set clip.model to one of its own, such as ViT-B-32")
    if "siglip" in model.lower() or {"hf_tokenizer_name", "hf_model_name"} & config["text_cfg"].keys():
        raise ValueError(
            f"the text tower of {model} is fetched from the hub: set clip.model to one with open-clip's own tokenizer, "
            "such as ViT-B-32 or ViT-L-14"
        )
    return open_clip
