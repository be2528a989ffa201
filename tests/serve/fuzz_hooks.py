"""What schemathesis calls before every request: values that are right by the document become such as can be drawn.

Otherwise most requests would end at the same few refusals: random bytes are no picture, and 7x31337 no size. What is
wrong by the document stays as it is. Loaded by schemathesis's own process, so nothing of ours is imported here.
"""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import schemathesis
from PIL import Image
from schemathesis import Case, HookContext

_SIZE: Final = re.compile(r"(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})")
_SIZES: Final = ("auto", "64x64", "80x48", "48x80", "128x128", "60x64", "100000x1")
_MODELS: Final = ("student", "default", "guided", "nobody")
_PROMPTS: Final = ("a red apple", "two blue cat", "a cat on background", "apple")


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _mask(*, channels: int) -> bytes:
    """A hole by alpha, or by white."""
    pixels = np.full((64, 64, channels), 255, np.uint8)
    pixels[8:30, 8:30, -1] = 0
    return _png(pixels if channels == 4 else 255 - pixels[..., 0])


_PHOTO: Final = _png(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
_FILES: Final = (_PHOTO, _PHOTO, _PHOTO, _mask(channels=4), _mask(channels=1), _PHOTO[:999], b"GIF89a")


def _among(options: tuple[Any, ...]) -> Callable[[Any], Any]:
    """The same for the same value, so that a run can be repeated."""
    return lambda value: options[zlib.crc32(repr(value).encode()) % len(options)]


def _right(kind: type[int] | type[float], low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high


def _is_size(value: Any) -> bool:
    return isinstance(value, str) and _SIZE.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != "" and len(value) <= 200


def _is_data_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("data:image/png;base64,")


def _is_file(value: Any) -> bool:
    return isinstance(value, bytes)


_URLS: Final = tuple("data:image/png;base64," + base64.b64encode(file).decode() for file in _FILES)
_LIKELY: Final[dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]]] = {
    "prompt": (_is_text, _among(_PROMPTS)),
    "model": (_is_text, _among(_MODELS)),
    "name": (_is_text, _among(_MODELS)),
    "size": (_is_size, _among(_SIZES)),
    "n": (_right(int, 1, 10), lambda value: 1 + value % 2),
    "num_inference_steps": (_right(int, 1, 1000), lambda value: 1 + value % 5),
    "text_guidance": (_right(float, 0, 100), lambda value: 1.5 + value % 2),
    "image_guidance": (_right(float, 0, 100), lambda value: 1.0 + value % 2),
    "image_url": (_is_data_url, _among(_URLS)),
    "image": (_is_file, _among(_FILES)),
    "mask": (_is_file, _among(_FILES)),
}
"""By parameter: what is right by the document, and what stands in for it."""


def _likelier(node: Any) -> Any:
    if isinstance(node, list):
        return [_likelier(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {name: _stand_in(name, _likelier(value)) for name, value in node.items()}


def _stand_in(name: str, value: Any) -> Any:
    is_right, stand_in = _LIKELY.get(name, (None, None))
    return value if is_right is None or stand_in is None or not is_right(value) else stand_in(value)


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Of every phase."""
    case.body = _likelier(case.body)
    case.path_parameters = _likelier(case.path_parameters)
    deadline = str(case.headers.get("x-deadline-seconds", "")) if case.headers else ""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?(e-[0-9]+)?", deadline) and 0 < float(deadline) < 100:
        case.headers["x-deadline-seconds"] = "100"
