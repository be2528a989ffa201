"""Named runs: each function returns a whole configuration. Change one by dotted names, see ``config.override``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ladd_ray.config import (
    Config,
    DataConfig,
    DiscriminatorConfig,
    DistillationConfig,
    EvaluationConfig,
    LcmConfig,
    NoiseConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
    TrackingConfig,
)
from ladd_ray.data_sections import TaskShares
from ladd_ray.pretrain_config import (
    FinetuneConfig,
    FlowNoiseConfig,
    FlowOptimizerConfig,
    ModelConfig,
    TaskDataConfig,
    ValidationConfig,
)


def stickers() -> Config:
    """The embedded model on the embedded world: 9 M parameters, 64 px, everything on a laptop's CPU.

    The judge looks at renoise mean -1 and not at the paper's 1. The same noise hides far more of 8 x 8 latents than of
    64 x 64; SD3's shift by resolution moves the logit by the logarithm of the ratio of sides, 1 - ln 8 = -1.1. [ours]

    Hardware: 2 CPU cores. Expected time and scores: the table in README.md.
    """
    return Config(
        recipe="stickers",
        noise=NoiseConfig(renoise_mean=-1.0),
        student=StudentConfig(lr=5e-5, ema_decay=0.99),
        discriminator=DiscriminatorConfig(lr=1e-3, width=64),
        run=RunConfig(name="stickers", steps=200, global_batch_size=48),
    )


def stickers_add() -> Config:
    """The run of ``stickers`` by ADD (arXiv 2311.17042): EfficientNet-Lite0 judges pixels, and the teacher has a say.

    Hinge, exact R1 and the weight 2.5 are the paper's; it judges by DINOv2 ViT-S: give --add.features its folder. The
    built-in network is also the one of KID, which then flatters this student. [ours]

    Hardware: 2 CPU cores; a step takes 3.1 s of one thread. Scores of 76 steps beside the others: README.md.
    """
    return Config(
        recipe="stickers_add",
        method="add",
        noise=NoiseConfig(renoise_mean=-1.0),
        student=StudentConfig(lr=5e-5, ema_decay=0.99),
        discriminator=DiscriminatorConfig(lr=1e-3, width=64, loss="hinge", r1="exact", r1_weight=1e-5),
        distillation=DistillationConfig(weight=2.5),
        run=RunConfig(name="stickers-add", steps=200, global_batch_size=48),
    )


def stickers_lcm() -> Config:
    """The run of ``stickers`` by consistency distillation (LCM, arXiv 2310.04378): no judge, no adversary.

    The moving average's decay is the paper's. The guidance is that of the latents, and a step skips a twentieth of the
    flow where the paper's skips a fiftieth, because the run is short. [ours]

    Hardware: 2 CPU cores; a step takes 1.0 s of one thread. Scores of 237 steps beside the others: README.md.
    """
    return Config(
        recipe="stickers_lcm",
        method="lcm",
        student=StudentConfig(lr=1e-4, betas=(0.9, 0.999), ema_decay=0.95),
        lcm=LcmConfig(skip=50, guidance=(3.0, 3.0)),
        run=RunConfig(name="stickers-lcm", steps=200, global_batch_size=48),
    )


def stickers_tasks_turbo() -> Config:
    """The embedded model in few steps, in all it does: it generates, edits and inpaints, and has guidance knobs.

    Edits are learned from what the teacher draws under both guidances, each row at strengths of its own; holes from
    real scenes, with the distillation loss beside the adversarial one (the paper). That loss on the other rows too, for
    edits towards the drawn latents instead of a new answer, and ranges, shares and length are ours.

    Hardware: one CPU core. Expected time: 80 minutes after 15 of latents; scores: "What keeps the knobs alive" in
    LOG.md. What it leaves is committed as the embedded student.
    """
    return Config(
        recipe="stickers_tasks_turbo",
        noise=NoiseConfig(renoise_mean=-1.0),
        student=StudentConfig(lr=5e-5, ema_decay=0.99, guidance_knobs=True),
        discriminator=DiscriminatorConfig(lr=1e-3, width=64),
        distillation=DistillationConfig(weight=2.5, rows="all", edit_target="latents"),
        data=DataConfig(
            tasks=TaskShares(generate=0.4, edit=0.35, inpaint=0.25),
            num_latents=4096,
            guidance_range=(1.5, 6.0),
            image_guidance_range=(1.0, 2.5),
        ),
        run=RunConfig(name="stickers-tasks-turbo", steps=2400, global_batch_size=48),
    )


def sd3_medium() -> Config:
    """Stable Diffusion 3 Medium, 2B, 512 px: the size of the paper's studies (depth 24, 10k iterations).

    Hardware: 8 GPUs of 80 GB. Learning rate, batch size and guidance are ours: the paper states none of them.
    Expected time and score: not measured yet.
    """
    return Config(
        recipe="sd3_medium",
        teacher=TeacherConfig(path="stabilityai/stable-diffusion-3-medium-diffusers", precision="bf16"),
        student=StudentConfig(lr=5e-6, lr_warmup_steps=200, zero_stage=2, precision="bf16", ema_decay=0.999),
        discriminator=DiscriminatorConfig(lr=5e-5, lr_warmup_steps=200),
        data=DataConfig(
            prompts="prompts.txt",
            heldout_prompts="heldout_prompts.txt",
            num_latents=100_000,
            guidance_scale=4.5,
            num_inference_steps=50,
            height=512,
            width=512,
            synthesis_batch_size=16,
        ),
        evaluation=EvaluationConfig(num_images=2048, batch_size=16),
        run=RunConfig(
            name="sd3-medium",
            steps=10_000,
            num_workers=8,
            global_batch_size=128,
            gradient_accumulation_steps=2,
            device="gpu",
            threads_per_worker=8,
            checkpoint_every=500,
            cluster_timeout_s=600,
        ),
    )


def sd35_large() -> Config:
    """Stable Diffusion 3.5 Large, 8B, 1024 px: ZeRO-3 student and teacher, bf16, activation checkpointing.

    Hardware: 8 GPUs of 80 GB or more (18 GB of weights and optimizer per GPU). The warm-up of the noise levels is
    the paper's for more than 512 x 512 pixels; learning rate, batch size and guidance are ours.
    Expected time and score: not measured yet.
    """
    return Config(
        recipe="sd35_large",
        teacher=TeacherConfig(path="stabilityai/stable-diffusion-3.5-large", precision="bf16", sharded=True),
        noise=NoiseConfig(warmup_steps=500),
        student=StudentConfig(
            lr=1e-6,
            lr_warmup_steps=500,
            zero_stage=3,
            precision="bf16",
            ema_decay=0.999,
            activation_checkpointing=True,
        ),
        discriminator=DiscriminatorConfig(lr=1e-5, lr_warmup_steps=500),
        data=DataConfig(
            prompts="prompts.txt",
            heldout_prompts="heldout_prompts.txt",
            num_latents=200_000,
            guidance_scale=4.5,
            num_inference_steps=40,
            height=1024,
            width=1024,
            synthesis_batch_size=4,
        ),
        evaluation=EvaluationConfig(num_images=2048, batch_size=4),
        run=RunConfig(
            name="sd35-large",
            steps=10_000,
            num_workers=8,
            global_batch_size=64,
            gradient_accumulation_steps=4,
            device="gpu",
            threads_per_worker=8,
            checkpoint_every=500,
            cluster_timeout_s=600,
        ),
    )


def stickers_tasks() -> FinetuneConfig:
    """The embedded model learns to edit and inpaint, on the embedded world; the committed one has been through this.

    Hardware: 2 CPU cores; in one process on one of them 60 minutes. Learning rate, shares of the tasks and length are
    ours. Score after that, held out: edits .13, fills .55, captions .41 in the judge's eyes (LOG.md).
    """
    return FinetuneConfig(
        recipe="stickers_tasks",
        model=ModelConfig(learned_positions=True),
        optimizer=FlowOptimizerConfig(
            lr=1e-3, lr_warmup_steps=100, lr_schedule="cosine", ema_decay=0.998, autocast=True
        ),
        noise=FlowNoiseConfig(mean=0.8, std=1.2),
        data=TaskDataConfig(num_rows=48_000, buckets=((64, 64), (64, 96), (96, 64))),
        tracking=TrackingConfig(log_every=10),
        run=RunConfig(name="stickers-tasks", steps=3600, global_batch_size=96, checkpoint_every=250),
    )


def sd3_medium_tasks() -> FinetuneConfig:
    """Stable Diffusion 3 Medium, 2B, learns to edit and inpaint on your pictures; give it --data.source.

    Hardware: 8 GPUs of 80 GB, ZeRO-2 in bf16. Learning rate and batch size are ours: the paper states neither.
    Expected time and score: not measured yet.
    """
    return FinetuneConfig(
        recipe="sd3_medium_tasks",
        model=ModelConfig(path="stabilityai/stable-diffusion-3-medium-diffusers"),
        optimizer=FlowOptimizerConfig(
            lr=2e-5,
            lr_warmup_steps=500,
            zero_stage=2,
            precision="bf16",
            ema_decay=0.9995,
            activation_checkpointing=True,
        ),
        noise=FlowNoiseConfig(shift=2.0),
        data=TaskDataConfig(
            source="pictures/*.parquet",
            buckets=((512, 512), (448, 576), (576, 448), (384, 640), (640, 384)),
            encoding_batch_size=16,
        ),
        validation=ValidationConfig(batch_size=16),
        tracking=TrackingConfig(log_every=20),
        run=RunConfig(
            name="sd3-medium-tasks",
            steps=20_000,
            num_workers=8,
            global_batch_size=256,
            gradient_accumulation_steps=2,
            device="gpu",
            threads_per_worker=8,
            checkpoint_every=1000,
            cluster_timeout_s=600,
        ),
    )


RECIPES: Mapping[str, Callable[[], Config]] = MappingProxyType(
    {
        recipe.__name__: recipe
        for recipe in (stickers, stickers_add, stickers_lcm, stickers_tasks_turbo, sd3_medium, sd35_large)
    }
)
"""Every distillation by its name on the command line of jobs/distill.py."""

TASK_RECIPES: Mapping[str, Callable[[], FinetuneConfig]] = MappingProxyType(
    {recipe.__name__: recipe for recipe in (stickers_tasks, sd3_medium_tasks)}
)
"""Every continued training by its name on the command line of jobs/pretrain.py."""
