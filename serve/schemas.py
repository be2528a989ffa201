"""Requests and responses: OpenAI's Images API of August 2026, and named extensions.

Extensions are ``seed``, ``num_inference_steps``, ``text_guidance``, ``image_guidance``, ``mask_polarity`` and
``metadata``; the official client sends them in ``extra_body``. What is unknown, impossible or without effect is
refused, never ignored. What follows from the model (sizes, steps, guidance) is checked in ``orders.py``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from ladd_ray.inference.files import Format

LARGEST_SEED = 2**53 - 1
"""Beyond it, JavaScript clients would read back another number."""

Size = Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$", examples=["auto", "64x64"])]
Guidance = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Range = Annotated[
    tuple[float, float],
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]
"""Lowest and highest; not as prefixItems, which generators of clients and of tests misread."""


def _say_that_null_is_left_out(schema: dict[str, Any]) -> None:
    """Every option of a request may be null; see ``ImageRequest``."""
    for name, option in schema["properties"].items():
        choices = option.get("anyOf", ())
        if name not in schema["required"] and {"type": "null"} not in choices:
            kept = {key: option.pop(key) for key in ("title", "description", "default", "examples") if key in option}
            schema["properties"][name] = {"anyOf": [option, {"type": "null"}], **kept}


class ImageRequest(BaseModel):
    """What generating and editing share."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra=_say_that_null_is_left_out,
    )

    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    """What to draw, or what to change."""
    model: Annotated[str, Field(max_length=200)] | None = None
    """One of ``GET /v1/models``; by default the first."""
    n: Annotated[int, Field(ge=1, le=10)] = 1
    """Pictures, of the seeds s, s + 1, ..."""
    size: Size = "auto"
    """Width x height in pixels; "auto" is the model's own, or that of the picture to edit."""
    response_format: Literal["b64_json", "url"] = "b64_json"
    """"url" gives data URLs."""
    output_format: Format = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """Quality of JPEG and WebP."""
    stream: bool = False
    """Answer with server-sent events."""
    partial_images: Annotated[int, Field(ge=0, le=3)] = 0
    """Previews of each picture; fewer come of a picture with fewer steps."""
    user: Annotated[str, Field(max_length=512)] | None = None
    safety_identifier: Annotated[str, Field(max_length=512)] | None = None
    background: Literal["auto", "opaque"] = "auto"
    quality: Literal["auto"] = "auto"
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    """Of the first picture; by default chosen and told."""
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    """By default the model's own."""
    text_guidance: Guidance | None = None
    """How strongly the prompt is followed, of models with guidance knobs."""
    metadata: bool = True
    """Write into the file how it was made."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        """Null is the official client's way to leave a parameter out."""
        return (
            {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values
        )

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip() or "\0" in prompt:
            raise ValueError("say in words what to draw")
        return prompt

    @field_validator("output_compression")
    @classmethod
    def _compresses_something(cls, compression: int | None, others: ValidationInfo) -> int | None:
        if compression is not None and others.data.get("output_format") == "png":
            raise ValueError("has no effect on png: leave it out, or use jpeg or webp")
        return compression

    @field_validator("stream")
    @classmethod
    def _streams_base64(cls, stream: bool, others: ValidationInfo) -> bool:
        if stream and others.data.get("response_format") == "url":
            raise ValueError("a stream carries base64: leave response_format out")
        return stream

    @field_validator("partial_images")
    @classmethod
    def _has_a_stream(cls, partial_images: int, others: ValidationInfo) -> int:
        if partial_images and not others.data.get("stream"):
            raise ValueError("previews need a stream: set stream")
        return partial_images

    @field_validator("seed")
    @classmethod
    def _has_room_for_all(cls, seed: int | None, others: ValidationInfo) -> int | None:
        if seed is not None and seed + others.data.get("n", 1) - 1 > LARGEST_SEED:
            raise ValueError(f"the last of the n seeds lies beyond {LARGEST_SEED}")
        return seed

    @property
    def width_height(self) -> tuple[int, int] | None:
        """In pixels; None where the size is left open."""
        if self.size == "auto":
            return None
        width, height = re.findall(r"\d+", self.size)
        return int(width), int(height)


class GenerateRequest(ImageRequest):
    """``POST /v1/images/generations``."""


class EditOptions(ImageRequest):
    """``POST /v1/images/edits`` but for the pictures."""

    image_guidance: Guidance | None = None
    """How strongly the given picture is followed, of models with guidance knobs."""
    mask_polarity: Literal["openai", "white"] = "openai"
    """What the mask marks for change: "openai" alpha 0, "white" white, as Stability, A1111 and vLLM-Omni."""


class ImageReference(BaseModel):
    """A picture in a JSON body."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    image_url: Annotated[str, Field(json_schema_extra={"pattern": "^data:image/(png|jpe?g|webp);base64,"})]
    """A data URL; nothing is fetched from elsewhere."""


class EditRequest(EditOptions):
    """``POST /v1/images/edits`` as JSON."""

    images: Annotated[list[ImageReference], Field(min_length=1, max_length=16)]
    mask: ImageReference | None = None
    """Of the same size; fills what it marks, and without it the whole picture is edited."""


class InputTokens(BaseModel):
    """What was read."""

    text_tokens: int
    image_tokens: int


class Usage(BaseModel):
    """Tokens: words of the prompt, and patches of pictures."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, *, text: int, source: int, drawn: int) -> Usage:
        """From tokens of the prompt, of the given picture and of all that was drawn."""
        details = InputTokens(text_tokens=text, image_tokens=source)
        return cls(
            input_tokens=text + source,
            input_tokens_details=details,
            output_tokens=drawn,
            total_tokens=text + source + drawn,
        )


class ImageData(BaseModel):
    """One picture of an answer."""

    b64_json: str | None = None
    url: str | None = None
    seed: int
    """Asks for exactly this picture with n = 1."""


class Metrics(BaseModel):
    """Where the time went, in milliseconds; of the picture that took longest."""

    queue_ms: float
    text_encode_ms: float
    prompt_cached: bool
    denoise_ms: float
    rows_per_step: float
    """How many pictures took each step together, on average."""
    decode_ms: float
    file_ms: float


class ImagesResponse(BaseModel):
    """The answer to both kinds of requests."""

    created: int
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: Format
    size: str
    usage: Usage
    metrics: Metrics


class PartialEvent(BaseModel):
    """A preview in a stream."""

    type: str
    b64_json: str
    partial_image_index: int
    index: int
    """Which of the n pictures it becomes."""
    created_at: int
    background: Literal["opaque"] = "opaque"
    output_format: Format
    quality: Literal["auto"] = "auto"
    size: str


class CompletedEvent(BaseModel):
    """A finished picture in a stream."""

    type: str
    b64_json: str
    index: int
    """Which of the n pictures it is."""
    seed: int
    created_at: int
    background: Literal["opaque"] = "opaque"
    output_format: Format
    quality: Literal["auto"] = "auto"
    size: str
    usage: Usage
    metrics: Metrics


class ModelCard(BaseModel):
    """A model of ``GET /v1/models``."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "ladd_ray"
    fingerprint: str
    """Of the weights that draw now."""
    version: str | None
    """In MLflow's registry, such as models:/stickers/3; null of a model that came from elsewhere."""
    tasks: list[str]
    native_size: str
    size_multiple: int
    """Pixels that divide width and height."""
    largest_side: int
    default_steps: int
    most_steps: int
    text_guidance: Range | None
    """Range; null where distillation fixed it."""
    image_guidance: Range | None
    default_text_guidance: float | None
    default_image_guidance: float | None


class ModelList(BaseModel):
    """``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
