"""Settings of the methods that LADD is compared with: every one with its default, its meaning and its range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from ladd_ray.sections import Section


class AddConfig(Section):
    """Adversarial Diffusion Distillation (arXiv 2311.17042).

    Its heads and losses are ``discriminator``'s and ``distillation``'s: the paper's are the hinge, exact R1 with weight
    1e-5, and a distillation weight of 2.5, see ``recipes.stickers_add``.
    """

    features: str = "efficientnet"
    """What judges pictures: 'efficientnet' (EfficientNet-Lite0, installed with this package, and the network of KID
    here), a DINOv2 folder, or a hub name such as facebook/dinov2-small (the paper's ViT-S)."""
    features_side: int | None = Field(default=None, ge=32)
    """Side of a square picture as that network sees it, in pixels; by default 96 for EfficientNet-Lite0, 224 for
    DINOv2. Other pictures keep their aspect ratio and get the same area."""
    recompute_decoder: bool = False
    """Recompute the decoder's activations in the backward pass: less memory, one more decoding."""


class LcmConfig(Section):
    """Consistency distillation (arXiv 2310.04378). The moving average of ``student.ema_decay`` makes its targets."""

    num_levels: int = Field(default=1000, ge=1)
    """Levels N of the discretised flow, evenly spaced (paper: 1000)."""
    skip: int = Field(default=20, ge=1)
    """Levels k that one step of the teacher skips (paper: 20)."""
    guidance: tuple[float, float] = (3.0, 15.0)
    """Range of the teacher's guidance scale, drawn anew for every sample. (paper: w in 2 .. 14, and the scale is w + 1)
    A student without guidance knobs learns the mean over the range: give it a narrow one."""
    huber_c: float = Field(default=0.001, gt=0)
    """Constant of the pseudo-Huber loss: differences well below it count squared (diffusers: 0.001)."""

    def require_levels(self, levels: Sequence[float]) -> None:
        """Check that a student is trained at every level that its sampler visits.

        Raises:
            ValueError: a level is none of n / num_levels, or too low to be the start of a step.
        """
        for level in levels:
            place = round(level * self.num_levels)
            if abs(place / self.num_levels - level) > 1e-6 or place < self.skip:
                raise ValueError(
                    f"noise.levels has {level:g}, which is no multiple of 1 / {self.num_levels} from "
                    f"{self.skip} / {self.num_levels} on: change lcm.num_levels or lcm.skip"
                )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.skip > self.num_levels:
            raise ValueError(f"lcm.skip = {self.skip} must not exceed lcm.num_levels = {self.num_levels}")
        lowest, highest = self.guidance
        if not 1 <= lowest <= highest:
            raise ValueError(f"lcm.guidance = {self.guidance} must be two scales from 1 (none), the smaller one first")
        return self
