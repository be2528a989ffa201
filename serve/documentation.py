"""What the OpenAPI document says beyond what FastAPI reads off the routes: bodies, streams, headers and refusals."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from .errors import ErrorEnvelope
from .schemas import CompletedEvent, EditOptions, EditRequest, PartialEvent

Responses = dict[int | str, dict[str, Any]]

_RETRY_AFTER: Final = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
_DESCRIPTIONS: Final = {
    400: "a parameter that cannot be; param names it",
    401: "no key, or a wrong one",
    404: "no such model",
    408: "the body took too long to come",
    413: "the body is too large",
    415: "a body of another kind",
    429: "too much to do; Retry-After says when there will be less",
    500: "something failed on our side",
    503: "the model is being loaded, or replaced",
    504: "not done before the deadline",
    "4XX": "any other refusal, in the same envelope",
}
_DRAWS: Final = (400, 404, 408, 413, 415, 429, 500, 503, 504)


def refusals(*statuses: int, locked: bool) -> Responses:
    """Of a route that answers with one of these, or with 401 where keys are asked for."""
    # FastAPI leaves out its own 422, which nobody gets here, where there is a 4XX.
    listed = (*((401,) if locked else ()), *statuses, "4XX")
    return {status: _refusal(status) for status in listed}


def drawing(*, locked: bool) -> Responses:
    """All answers of a route that draws."""
    stream = {"schema": _EVENT, "examples": _EVENTS}
    success = {"description": "The pictures; with stream, events.", "content": {"text/event-stream": stream}}
    return {200: success, **refusals(*_DRAWS, locked=locked)}


def _refusal(status: int | str) -> dict[str, Any]:
    said: dict[str, Any] = {"model": ErrorEnvelope, "description": _DESCRIPTIONS[status]}
    return {**said, "headers": _RETRY_AFTER} if status in (429, 503) else said


def _form_schema() -> dict[str, Any]:
    """Forms bring everything as text, so nothing is null."""
    schema = _schema(EditOptions)
    options = {name: _without_null(option) for name, option in schema["properties"].items()}
    files = {name: {"type": "string", "contentMediaType": "application/octet-stream"} for name in ("image", "mask")}
    return {**schema, "title": "EditForm", "properties": {**files, **options}, "required": ["image", "prompt"]}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    said = {key: value for key, value in schema.items() if key != "anyOf" and (key != "default" or value is not None)}
    return {**said, **choices[0]}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Of a body that FastAPI does not see, and whose definitions it therefore does not collect."""
    schema = model.model_json_schema()
    return _without_references(schema, schema.get("$defs", {}))


def _without_references(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema that needs no definitions beside it."""

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(definitions[node["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in node.items() if key != "$defs"}

    found: dict[str, Any] = resolved(schema)
    return found


_EVENT: Final = {
    "title": "Event",
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"anyOf": [_schema(kind) for kind in (PartialEvent, CompletedEvent, ErrorEnvelope)]},
        },
    },
    "required": ["event", "data"],
}
"""One of a stream."""


def _examples(**bodies: dict[str, Any]) -> dict[str, Any]:
    return {name: {"value": body} for name, body in bodies.items()}


_DEADLINE: Final = {
    "name": "x-deadline-seconds",
    "in": "header",
    "required": False,
    "description": "Gives up earlier than the endpoint would.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
_EVENTS: Final = _examples(
    partial={
        "event": "image_generation.partial_image",
        "data": '{"type": "image_generation.partial_image", "b64_json": "iVBORw0...", "partial_image_index": 0, ...}',
    },
    completed={
        "event": "image_generation.completed",
        "data": '{"type": "image_generation.completed", "b64_json": "iVBORw0...", "seed": 1, ...}',
    },
)
_PICTURE: Final = {"image_url": "data:image/png;base64,iVBORw0..."}

GENERATE: Final[dict[str, Any]] = {
    "parameters": [_DEADLINE],
    "requestBody": {
        "content": {
            "application/json": {
                "examples": _examples(
                    generate={"prompt": "a red apple", "seed": 1},
                    stream={"prompt": "two blue fish", "stream": True, "partial_images": 2},
                    files={"prompt": "a cat", "n": 4, "output_format": "webp", "output_compression": 80},
                )
            }
        }
    },
}
"""Added to what FastAPI says of generating."""

EDIT: Final[dict[str, Any]] = {
    "parameters": [_DEADLINE],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form_schema()},
            "application/json": {
                "schema": _schema(EditRequest),
                "examples": _examples(
                    edit={"prompt": "make the background blue", "images": [_PICTURE]},
                    inpaint={"prompt": "a cat", "images": [_PICTURE], "mask": _PICTURE, "mask_polarity": "white"},
                ),
            },
        },
    },
}
"""Added to what FastAPI says of editing, whose body it cannot read off the function."""
