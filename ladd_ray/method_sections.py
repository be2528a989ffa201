"""The sections of a configuration that belong to LADD: its heads, its losses, adapters, and when a run has failed.

Re-exported by ``config.py``; see ``sections.py`` for the others.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ladd_ray.sections import OptimizerConfig, Section


class DiscriminatorConfig(OptimizerConfig):
    """The heads on the frozen features, and the loss they play for."""

    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate of the heads."""
    tapped_blocks: tuple[int, ...] | None = None
    """Transformer blocks whose image tokens are judged, counted from 0; by default every block (the paper)."""
    width: int | None = Field(default=None, ge=8, multiple_of=8)
    """Channels inside a head; by default a quarter of the transformer's width (ours: 4-5 % of a pass)."""
    depth: int = Field(default=2, ge=1)
    """Convolutions in the residual block of a head."""
    kernel_size: Literal[1, 3, 5, 7] = 3
    """Size of those convolutions."""
    condition_on_sigma: bool = True
    """Tell the heads the noise level (the paper)."""
    condition_on_prompt: bool = True
    """Tell the heads the pooled prompt embedding (the paper)."""
    loss: Literal["hinge", "softplus", "bce"] = "hinge"
    """Adversarial loss, per logit. The paper does not print it; hinge is what ADD and SANA-Sprint use."""
    r1: Literal["none", "exact", "approximate"] = "none"
    """Penalty on real samples: exact on the heads' inputs (ADD), or approximate on the noised latent (Seaweed-APT)."""
    r1_weight: float = Field(default=1e-5, ge=0)
    """Weight of that penalty: 1e-5 is ADD's for the exact one; the approximate one wants about 100 (Seaweed-APT)."""
    r1_perturbation: float = Field(default=0.01, gt=0)
    """Standard deviation of the perturbation of the approximate penalty."""
    misaligned_weight: float = Field(default=0.0, ge=0)
    """Weight of real latents under the prompt of their neighbour in the micro batch, which the heads are to call fake;
    0 leaves them out. One more forward of the features. (ours, after earlier text-to-image GANs)"""
    steps_per_student_step: int = Field(default=1, ge=1)
    """Steps of the heads for one of the student: the heads learn in every step, on fresh samples and noise, the student
    in the last of so many. Its learning-rate schedule counts its own steps. (ours; the paper does not say)"""
    reuse: Literal["full", "none"] = "full"
    """full: both turns share one pass of the student and of the features, 6 forwards. none: each turn has its own,
    8 forwards with the same noise, and no graph of the student lives through the heads' turn."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        blocks = self.tapped_blocks
        if blocks is not None and (not blocks or min(blocks) < 0 or list(blocks) != sorted(set(blocks))):
            raise ValueError(f"discriminator.tapped_blocks = {blocks} must be rising, distinct and not negative")
        if self.r1 == "exact" and self.zero_stage == 3:
            raise ValueError(
                "discriminator.r1 = exact differentiates the heads twice, which comes out wrong over shards of their "
                "weights: set discriminator.zero_stage to 2 or less"
            )
        return self


class DistillationConfig(Section):
    """A second loss of the student: the teacher's own prediction from the student's noised latents (ADD's)."""

    weight: float = Field(default=0.0, ge=0)
    """Its weight beside the adversarial loss; 0 leaves it out, as the paper does on synthetic data. ADD takes 2.5. One
    more forward of the teacher, without a gradient."""
    weighting: Literal["exponential", "uniform"] = "exponential"
    """Weight c of a noise level. exponential: 1 - sigma (ADD); uniform: 1."""
    levels: Literal["judge", "uniform"] = "judge"
    """Noise level at which the teacher answers: the judge's, or any, equally often. Guidance is decided at high levels,
    where a judge of a low noise.renoise_mean seldom looks. (ours)"""
    rows: Literal["all", "real"] = "all"
    """all, or only real pictures: where the paper's inpainting model, trained on real data, has this loss."""
    edit_target: Literal["teacher", "latents"] = "teacher"
    """What an edit is drawn towards: the teacher's prediction, or the training latents themselves, at any level with
    weight 1. Its source leaves little to chance, so their mean is sharp, and moves with the guidance knobs. (ours)"""
    guidance_scale: float = Field(default=1.0, ge=1)
    """Text guidance of the teacher's prediction; 1 is none. It takes a second forward, image guidance a third. Of a
    student with guidance knobs it concerns real pictures alone: others are guided as they were drawn."""
    image_guidance_scale: float = Field(default=1.0, ge=0)
    """Guidance by the source picture of an edit; 1 is none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.edit_target == "latents" and self.rows == "real":
            raise ValueError(
                "distillation.edit_target = latents needs edits that have this loss: set distillation.rows = all"
            )
        if self.image_guidance_scale != 1 and self.guidance_scale == 1:
            raise ValueError(
                f"distillation.image_guidance_scale = {self.image_guidance_scale} needs text guidance too: set "
                "distillation.guidance_scale above 1"
            )
        return self


class LoraConfig(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) in place of a whole student."""

    rank: int = Field(default=0, ge=0)
    """Rank of the adapters; 0 trains all weights. The frozen weights are the teacher's own, not a copy of them."""
    alpha: float | None = Field(default=None, gt=0)
    """The adapters' product is scaled by alpha / rank; by default alpha is the rank."""
    targets: tuple[str, ...] = (
        "to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out",
    )  # fmt: skip
    """Linear layers that get an adapter, by the end of their name; by default those of the attention. (ours)"""


class HealthConfig(Section):
    """When a run has collapsed: it stops with a report instead of burning GPUs. All limits are ours."""

    stop: bool = True
    """Stop a collapsed run; otherwise only warn, once for each symptom."""
    patience: int = Field(default=20, ge=1)
    """Logged points in a row that must show a symptom."""
    max_accuracy: float = Field(default=0.98, gt=0.5, le=1)
    """The judge has won when it knows more than this share of logits. Sound runs stay below about .7."""
    max_dead_hinge: float = Field(default=0.95, gt=0, le=1)
    """The heads learn nothing when more than this share of logits lies beyond the margin of the hinge."""
    min_student_gradient: float = Field(default=1e-7, ge=0)
    """The student learns nothing when the norm of its gradient is below."""
    undecided_accuracy: float = Field(default=0.005, ge=0)
    """The judge sees nothing when its accuracy stays this close to a half: a warning, for it may be the student's
    merit."""
    undecided_after: int = Field(default=100, ge=0)
    """Steps before that is worth a warning."""
