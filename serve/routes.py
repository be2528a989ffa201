"""Which address does what, and how errors and documentation look."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from .edits import EDIT_BODY
from .errors import ApiError, ErrorEnvelope, Refusal, from_complaints
from .gateway import Gateway
from .guards import LimitBody, RequireKey
from .schemas import GenerateRequest, ImagesResponse, ModelCard, ModelList

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorEnvelope, "description": description}
    for status, description in {
        400: "a parameter that cannot be; param names it",
        401: "no key, or a wrong one",
        404: "no such model",
        413: "the body is too large",
        429: "too much to do; Retry-After says when there will be less",
        504: "not done before the deadline",
    }.items()
}
_EXAMPLES: Final = {
    "generate": {"value": {"prompt": "a red apple", "seed": 1}},
    "stream": {"value": {"prompt": "two blue fish", "stream": True, "partial_images": 2}},
    "files": {"value": {"prompt": "a cat", "n": 4, "output_format": "webp", "output_compression": 80}},
}


def make_app(gateway: Gateway, *, max_body_bytes: int, key_digests: Sequence[str] = ()) -> FastAPI:
    """The whole HTTP side.

    Args:
        gateway: what the routes do.
        max_body_bytes: of a request.
        key_digests: SHA-256 of the bearer tokens that /v1 asks for; without any it is open.
    """
    app = FastAPI(title="ladd_ray", summary="OpenAI's Images API over few-step students", version="1")
    _add_image_routes(app, gateway)
    _add_other_routes(app, gateway)
    _add_error_handlers(app)
    app.add_middleware(LimitBody, max_bytes=max_body_bytes)
    app.add_middleware(RequireKey, digests=key_digests)
    return app


def _add_image_routes(app: FastAPI, gateway: Gateway) -> None:
    body = {"requestBody": {"content": {"application/json": {"examples": _EXAMPLES}}}}

    @app.post("/v1/images/generations", response_model=ImagesResponse, responses=_REFUSALS, openapi_extra=body)
    async def generate(request: GenerateRequest, http: Request) -> Response:
        """Draw pictures from words. With ``stream``, server-sent events."""
        return await gateway.generate(request, http)

    @app.post("/v1/images/edits", response_model=ImagesResponse, responses=_REFUSALS, openapi_extra=EDIT_BODY)
    async def edit(http: Request) -> Response:
        """Change a picture as the prompt says, or fill what a mask marks: every pixel outside stays as it is."""
        return await gateway.edit(http)


def _add_other_routes(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/v1/models")
    async def models() -> ModelList:
        """All models; requests that name none get the first."""
        return await gateway.models()

    @app.get("/v1/models/{name}", responses={404: _REFUSALS[404]})
    async def model(name: str) -> ModelCard:
        """One model: what it can do, and within which bounds."""
        return await gateway.model(name)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """The HTTP side is up."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        """Every model has just drawn a picture."""
        await gateway.check()
        return {"status": "ready"}


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refuse(_: Request, error: ApiError) -> Response:
        return error.refusal.response()

    @app.exception_handler(RequestValidationError)
    async def refuse_body(_: Request, error: RequestValidationError) -> Response:
        return from_complaints(error.errors()).refusal.response()

    @app.exception_handler(HTTPException)
    async def refuse_address(http: Request, error: HTTPException) -> Response:
        message = error.detail
        if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            message = f"Invalid URL ({http.method} {http.url.path})"
        return Refusal(error.status_code, message, headers=error.headers or {}).response()

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> Response:
        return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "something failed on our side: try again").response()
