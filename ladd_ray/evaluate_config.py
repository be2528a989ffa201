"""The configuration of an evaluation: one tree, like ``config.Config``, for ``jobs/evaluate.py``.

Every message says what to do.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ladd_ray.sections import Precision, Section

EMBEDDED = "stickers"
REAL, NO_REFERENCE = "real", "none"

Role = Literal["auto", "teacher", "student"]
ScoreName = Literal["kid", "fid", "precision_recall", "judge", "clip", "diversity", "latency"]


class StudentSampling(Section):
    """How distilled models draw: few steps with fresh noise, no guidance."""

    steps: tuple[int, ...] = (1, 2, 4)
    """Numbers of steps; a row of the table for each."""
    levels: tuple[float, ...] | None = None
    """Trained noise levels, falling from 1; by default those that the model's folder names."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.steps or min(self.steps) < 1 or len(set(self.steps)) < len(self.steps):
            raise ValueError(f"student.steps = {self.steps} must be distinct and at least 1")
        return self


class TeacherSampling(Section):
    """How models that are not distilled draw: many Euler steps under classifier-free guidance."""

    num_inference_steps: int = Field(default=28, ge=1)
    """Steps."""
    guidance_scale: float = Field(default=3.0, ge=0)
    """Classifier-free guidance; 1 is none."""
    image_guidance_scale: float = Field(default=1.5, ge=0)
    """Guidance by the picture to edit; 1 is none. Other tasks know none."""
    shift: float | None = Field(default=None, gt=0)
    """Timestep shift; by default what each model's scheduler config says."""


class DiversitySection(Section):
    """Prompts that are drawn several times."""

    num_prompts: int = Field(default=16, ge=1)
    """The first prompts of the evaluation."""
    num_seeds: int = Field(default=4, ge=2)
    """Pictures of each."""


class ClipSection(Section):
    """CLIP score, only with weights that you have: nothing is fetched. Needs pip install 'ladd-ray[clip]'."""

    model: str = "ViT-B-32"
    """Architecture by open-clip's name. OpenAI's weights want the names that end in -quickgelu."""
    weights: str | None = None
    """File of open-clip weights; without it there is no CLIP score."""


class WorkSection(Section):
    """Where the pictures are drawn. What is drawn does not depend on it."""

    num_workers: int = Field(default=2, ge=0)
    """Ray workers, each with one model. 0 draws in this process."""
    device: Literal["cpu", "gpu"] = "cpu"
    """One GPU per worker, or CPU threads. Scores are always computed on the CPU of this machine."""
    threads_per_worker: int = Field(default=1, ge=1)
    """CPU threads (and Ray CPUs) of a worker."""
    precision: Precision = "fp32"
    """Precision of the models while they draw."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures drawn at once."""
    cluster_timeout_s: float = Field(default=45.0, gt=0)
    """Seconds to wait for the cluster to offer the workers asked for."""


class ShowcaseConfig(Section):
    """Sheets of what one model draws: the first pictures of a seed, not the best ones, with the judge's verdicts."""

    model: str = EMBEDDED
    """What draws: a run folder, a checkpoint, an export, a pipeline folder, a hub name, or 'stickers'."""
    output: str = "docs/teacher"
    """Folder of the sheets and their table."""
    seed: int = 0
    """Seed of held-out prompts, edits, holes and noise."""
    count: int = Field(default=24, ge=1)
    """Pictures of every kind that are drawn and judged."""
    shown: int = Field(default=9, ge=3)
    """How many of them a row of the sheet shows; of edits and holes, which take three pictures each, a third."""
    judge: str | None = None
    """Folder of the judge of the embedded world; by default the one of this package."""
    teacher: TeacherSampling = TeacherSampling()
    student: StudentSampling = StudentSampling()
    """A distilled model draws in the last number of steps."""
    run: WorkSection = WorkSection(num_workers=0)


class EvaluateConfig(Section):
    """A whole evaluation."""

    models: tuple[str, ...]
    """What to score: run folders, exported students, pipeline folders, hub names, or 'stickers' (the embedded model).
    The first one also lends its autoencoder and its shape to the rows of the ceiling and of the untrained network."""
    roles: tuple[Role, ...] = ()
    """How each model draws, in their order; by default as a student where the folder is an export of this project,
    else as a teacher."""
    prompts: str = EMBEDDED
    """'stickers' (held-out prompts of the embedded world) or a text file with one prompt per line."""
    num_images: int = Field(default=256, ge=4)
    """Pictures in each set."""
    seed: int = 2024
    """Seed of prompts and noise."""
    sizes: tuple[tuple[int, int], ...] = ((64, 64),)
    """Height and width in pixels; several sizes take turns over the prompts and get a table of their own. The embedded
    world's frames are 64 64 64 96 96 64."""
    num_edits: int | None = Field(default=None, ge=0)
    """Held-out edits of the embedded world, with a table and a sheet of their own, for the models that edit; 0 is none.
    By default 128 where a model edits and the judge scores."""
    num_inpaints: int | None = Field(default=None, ge=0)
    """The same for holes to fill."""
    reference: str | None = None
    """What distances are measured to: 'real' (other held-out scenes of the embedded world), a folder of images, a
    model, which draws as a teacher with other noise, or 'none'. By default real, for the embedded world's prompts."""
    scores: tuple[ScoreName, ...] | None = None
    """What to compute; by default everything that prompts, reference and weights allow."""
    judge: str | None = None
    """Folder of the judge of the embedded world; by default the one of this package."""
    num_sample_prompts: int = Field(default=8, ge=1)
    """Columns of samples.png, edits.png and fills.png."""
    output: str = "runs/evaluation"
    """Where results.json, table.md and the sheets of pictures go. Results under another protocol are not overwritten.
    A relative folder lies in $LADD_RAY_HOME where that is set."""
    compare_with: tuple[str, ...] = ()
    """Folders of earlier evaluations whose rows go into the table too; refused where their protocol differs."""
    student: StudentSampling = StudentSampling()
    teacher: TeacherSampling = TeacherSampling()
    diversity: DiversitySection = DiversitySection()
    clip: ClipSection = ClipSection()
    run: WorkSection = WorkSection()

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        if not self.models:
            raise ValueError("there is no model to score: name one, such as runs/stickers")
        if self.roles and len(self.roles) != len(self.models):
            raise ValueError(f"{len(self.roles)} roles for {len(self.models)} models: give one for each, or none")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if not self.sizes or any(side < 32 or side % 16 for size in self.sizes for side in size):
            raise ValueError(f"sizes = {self.sizes} must be multiples of 16 pixels, at least 32")
        return self

    @model_validator(mode="after")
    def _check_world(self) -> Self:
        if self.prompts != EMBEDDED and self.reference == REAL:
            raise ValueError(
                "nobody knows the real pictures of your own prompts: set reference to a folder of images or to a model"
            )
        return self

    @model_validator(mode="after")
    def _check_scores(self) -> Self:
        lacking = [name for name in self.scores or () if name not in self.possible_scores]
        if lacking:
            raise ValueError(
                f"scores: {', '.join(lacking)} cannot be computed here. Distances need a reference, the judge needs "
                "the prompts of the embedded world, clip needs clip.weights"
            )
        return self

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        if (self.num_edits or self.num_inpaints) and not self.scores_tasks:
            raise ValueError(
                "edits and holes are those of the embedded world and scored by its judge: leave prompts at 'stickers' "
                "and the judge among the scores, or set num_edits and num_inpaints to 0"
            )
        return self

    @property
    def in_embedded_world(self) -> bool:
        """Whether the facts of every prompt are known."""
        return self.prompts == EMBEDDED

    @property
    def scores_tasks(self) -> bool:
        """Whether editing and inpainting can be scored."""
        return "judge" in self.chosen_scores

    @property
    def chosen_reference(self) -> str | None:
        """What distances are measured to; None where none is."""
        reference = self.reference or (REAL if self.in_embedded_world else NO_REFERENCE)
        return None if reference == NO_REFERENCE else reference

    @property
    def chosen_scores(self) -> tuple[ScoreName, ...]:
        """What is computed."""
        return self.possible_scores if self.scores is None else self.scores

    @property
    def possible_scores(self) -> tuple[ScoreName, ...]:
        """What prompts, reference and weights allow."""
        names: list[ScoreName] = ["diversity", "latency"]
        names += ["kid", "fid", "precision_recall"] if self.chosen_reference else []
        names += ["judge"] if self.in_embedded_world else []
        names += ["clip"] if self.clip.weights else []
        return tuple(names)
