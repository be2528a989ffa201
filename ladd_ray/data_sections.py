"""The sections of a configuration that say what a training set holds, and how it is made and fed.

Checks that need one section only stand here. Every message says what to do.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ladd_ray.sections import Section

EMBEDDED = "stickers"
"""The embedded world, wherever a path of data is asked for."""
EMBEDDED_STUDENT = "stickers-turbo"
"""The committed student, wherever a model is asked for."""

Size = tuple[int, int]
"""Height and width in pixels."""
Range = tuple[float, float]
"""Smallest and largest value."""


class TaskShares(Section):
    """How often each task is drawn where the data leaves the choice."""

    generate: float = Field(default=0.4, ge=0)
    """A picture from its caption."""
    edit: float = Field(default=0.35, ge=0)
    """A picture from another one and an instruction. Files say themselves which rows these are: those with a source."""
    inpaint: float = Field(default=0.25, ge=0)
    """The hole of a picture from the rest and the caption."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.generate + self.edit + self.inpaint <= 0:
            raise ValueError("data.tasks: give at least one task a share")
        return self


class SourceConfig(Section):
    """Pictures with text: where they lie, and how they are read."""

    source: str = EMBEDDED
    """Where the pictures are: 'stickers' (the embedded world); a folder of images, each with its text in a file of the
    same name (a.png, a.txt) or in metadata.jsonl (file_name, text); WebDataset ('/data/*.tar'); or parquet
    ('/data/*.parquet')."""
    image_column: str = "image"
    """Parquet: column of the picture, as bytes or as a struct with bytes."""
    prompt_column: str = "text"
    """Caption, or the instruction of an edit: column in parquet, key in metadata.jsonl and in the .json of a tar."""
    source_column: str = "source"
    """Picture before the edit: parquet column, file name in metadata.jsonl, a.source.png in a tar. May be missing.
    Where a teacher draws the edit, the picture itself may be named as its source."""
    mask_column: str = "mask"
    """White where to draw, given like the source; where it is missing, holes are drawn."""
    views: int = Field(default=1, ge=1)
    """Rows from each picture of files: every one draws its own task and hole."""
    tasks: TaskShares = TaskShares()
    memory_gb: float = Field(default=8.0, ge=0)
    """Each worker holds the stored set in memory if it is not larger; else it reads the rows of a batch from disk."""
    seed: int = 0
    """Seed of tasks, holes, scenes and prompts, and of the noise that a teacher's drawings grow from."""


class TaskDataConfig(SourceConfig):
    """Pictures with text; encoded once, then trained on from the encoded set."""

    num_rows: int = Field(default=64_000, ge=1)
    """Rows from the embedded world; files give ``views`` rows for each picture."""
    buckets: tuple[Size, ...] = ((64, 64),)
    """Picture sizes (height, width) in pixels: each picture is resized and centre-cropped to the nearest shape."""
    heldout_share: float = Field(default=0.01, ge=0, lt=1)
    """Share of the pictures that is kept for the validation loss; of the embedded world, its held-out split."""
    encoded: str | None = None
    """Folder of the encoded set to reuse; by default one in run.directory, keyed by everything that shapes it."""
    encoding_batch_size: int = Field(default=64, ge=1)
    """Pictures that one actor encodes at once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_sizes(self.buckets)
        return self


class DataConfig(SourceConfig):
    """The training set of a distillation: what the guided teacher draws, and encoded pictures where they are wanted."""

    prompts: str = EMBEDDED
    """Training prompts: 'stickers' (the embedded world) or a text file with one prompt per line."""
    heldout_prompts: str = EMBEDDED
    """Prompts for evaluation: 'stickers' (its held-out split) or a text file."""
    tasks: TaskShares = TaskShares(generate=1.0, edit=0.0, inpaint=0.0)
    """Shares of the tasks among ``num_latents`` rows; of files, see ``source``."""
    origin: Literal["synthetic", "real"] = "synthetic"
    """Latents to learn from: drawn by the teacher, or encoded from the pictures of ``source``. Holes are filled from
    real pictures in either case (the paper)."""
    num_latents: int = Field(default=1024, ge=1)
    """Rows from prompts and from the embedded world. Prompts repeat with other noise when there are fewer. Files that
    ``source`` names come on top, with all their pictures."""
    latents: str | None = None
    """Folder of rows to reuse; by default one in run.directory, keyed by everything that shapes it."""
    guidance_scale: float = Field(default=3.0, ge=0)
    """Classifier-free guidance of the teacher's sampler (paper: one constant; its value is not known)."""
    guidance_range: Range | None = None
    """Draw that guidance uniformly for every row instead: a student with guidance knobs learns all of them."""
    image_guidance_scale: float = Field(default=1.5, ge=0)
    """Guidance by the source where the teacher edits (InstructPix2Pix: 1.5)."""
    image_guidance_range: Range | None = None
    """Draw that one uniformly for every edit instead."""
    num_inference_steps: int = Field(default=28, ge=1)
    """Steps of the teacher's sampler."""
    shift: float | None = Field(default=None, gt=0)
    """Timestep shift of the teacher's sampler; by default what its scheduler config says."""
    height: int = Field(default=64, ge=16, multiple_of=16)
    """Image height in pixels: of evaluation, and of the training set unless ``buckets`` are given."""
    width: int = Field(default=64, ge=16, multiple_of=16)
    """Image width in pixels, likewise."""
    buckets: tuple[Size, ...] | None = None
    """Several picture sizes (height, width) for training; every prompt draws one, pictures take the nearest."""
    synthesis_batch_size: int = Field(default=64, ge=1)
    """Images that one teacher actor draws at once."""
    store_prompt_embeds: bool = True
    """Keep the prompts' embeddings beside the latents. With T5 they are 5 to 20 times the latents; without them every
    worker holds the text towers and encodes each batch anew."""
    feed: Literal["stored", "online"] = "stored"
    """stored draws the whole set first and keeps it; online draws fresh rows while training and stores nothing."""
    online_teachers: int = Field(default=1, ge=1)
    """Teacher actors beside the training workers, each as large as one of them."""
    online_buffer: int = Field(default=4, ge=1)
    """Micro batches that every worker orders ahead."""
    allow_unguided: bool = False
    """Train on latents made without guidance. A student of unguided latents learns to draw washed-out images."""

    @property
    def sizes(self) -> tuple[Size, ...]:
        """Picture sizes of the training set."""
        return self.buckets or ((self.height, self.width),)

    @property
    def text_guidance(self) -> Range:
        """Smallest and largest guidance by text."""
        return self.guidance_range or (self.guidance_scale, self.guidance_scale)

    @property
    def image_guidance(self) -> Range:
        """Smallest and largest guidance by the source of an edit."""
        return self.image_guidance_range or (self.image_guidance_scale, self.image_guidance_scale)

    @property
    def teachers_beside(self) -> int:
        """Teacher actors that draw while training goes on."""
        return self.online_teachers if self.feed == "online" else 0

    @property
    def reads_files(self) -> bool:
        """Whether pictures of files are part of the set."""
        return self.source != EMBEDDED and (not self.generates_only or self.origin == "real")

    @property
    def generates_only(self) -> bool:
        """Whether no other task is trained: a student of such a set forgets those that its teacher knows."""
        return self.tasks.edit + self.tasks.inpaint == 0

    @property
    def draws_prompts(self) -> bool:
        """Whether the teacher draws prompts."""
        return self.tasks.generate > 0 and self.origin == "synthetic"

    @property
    def pictures(self) -> TaskDataConfig:
        """The same as settings for those who read pictures; they leave the prompts to the teacher."""
        shared = self.model_dump(include=set(SourceConfig.model_fields))
        if self.reads_files and self.draws_prompts:
            shared["tasks"]["generate"] = 0.0
        return TaskDataConfig(**shared, num_rows=self.num_latents, buckets=self.sizes, heldout_share=0.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_sizes(self.sizes)
        for name in ("guidance_range", "image_guidance_range"):
            bounds = getattr(self, name)
            if bounds is not None and not 0 <= bounds[0] < bounds[1]:
                raise ValueError(f"data.{name} = {bounds} must be a smaller number and a larger one")
        if self.text_guidance[0] <= 1 and not self.allow_unguided:
            raise ValueError(
                f"data.guidance_scale = {self.text_guidance[0]} makes latents without guidance: "
                "use 3 to 5, or set data.allow_unguided if you mean it"
            )
        return self

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        edits = self.tasks.edit > 0 and self.origin == "synthetic"
        if edits and self.text_guidance[0] <= 1 and self.image_guidance != (1, 1):
            raise ValueError("guidance by the source needs guidance by text: set data.image_guidance_scale = 1")
        if self.reads_files and self.draws_prompts and self.prompts == EMBEDDED:
            raise ValueError(
                f"data.source = {self.source} with the embedded world's prompts: name a file in data.prompts, "
                "or set data.tasks.generate = 0"
            )
        if self.feed == "online" and self.reads_files:
            raise ValueError("data.feed = online draws prompts and the embedded world: set it to stored for files")
        return self


def _check_sizes(sizes: tuple[Size, ...]) -> None:
    wrong = [size for size in sizes if min(size) < 16 or size[0] % 16 or size[1] % 16]
    if wrong or not sizes or len(set(sizes)) < len(sizes):
        raise ValueError(f"data.buckets = {sizes} must be distinct sizes in multiples of 16 pixels")
