"""Which address does what, and how errors and documentation look."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from .documentation import EDIT, GENERATE, drawing, refusals
from .errors import ApiError, Refusal, failed, from_complaints
from .gateway import Gateway
from .guards import LimitBody, LimitRequests, RequireKey
from .schemas import GenerateRequest, ImagesResponse, ModelCard, ModelList


def make_app(gateway: Gateway, *, max_body_bytes: int, key_digests: Sequence[str] = ()) -> FastAPI:
    """The whole HTTP side.

    Args:
        gateway: what the routes do.
        max_body_bytes: of a request.
        key_digests: SHA-256 of the bearer tokens that /v1 asks for; without any it is open.
    """
    app = FastAPI(title="ladd_ray", summary="OpenAI's Images API over few-step students", version="1")
    locked = bool(key_digests)
    _add_image_routes(app, gateway, locked=locked)
    _add_model_routes(app, gateway, locked=locked)
    _add_probes(app, gateway)
    _add_error_handlers(app)
    app.add_middleware(LimitBody, max_bytes=max_body_bytes, within_s=gateway.limits.max_deadline_s)
    app.add_middleware(LimitRequests, most=gateway.limits.max_requests)
    app.add_middleware(RequireKey, digests=key_digests)
    return app


def _locks(*, locked: bool) -> list[Any]:
    """Says in the documentation that a key is needed; ``RequireKey`` asks for it, before any body is read."""
    return [Depends(HTTPBearer(auto_error=False))] if locked else []


def _add_image_routes(app: FastAPI, gateway: Gateway, *, locked: bool) -> None:
    said: dict[str, Any] = {
        "response_model": ImagesResponse,
        "responses": drawing(locked=locked),
        "dependencies": _locks(locked=locked),
    }

    @app.post("/v1/images/generations", openapi_extra=GENERATE, **said)
    async def generate(request: GenerateRequest, http: Request) -> Response:
        """Draw pictures from words. With ``stream``, server-sent events."""
        return await gateway.generate(request, http)

    @app.post("/v1/images/edits", openapi_extra=EDIT, **said)
    async def edit(http: Request) -> Response:
        """Change a picture as the prompt says, or fill what a mask marks: every pixel outside stays as it is."""
        return await gateway.edit(http)


def _add_model_routes(app: FastAPI, gateway: Gateway, *, locked: bool) -> None:
    said: dict[str, Any] = {"dependencies": _locks(locked=locked)}

    @app.get("/v1/models", responses=refusals(503, locked=locked), **said)
    async def models() -> ModelList:
        """All models that are ready; requests that name none get the first of the settings."""
        return await gateway.models()

    @app.get("/v1/models/{name}", responses=refusals(404, 503, locked=locked), **said)
    async def model(name: str) -> ModelCard:
        """One model: what it can do, and within which bounds."""
        return await gateway.model(name)


def _add_probes(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/health", responses=refusals(locked=False))
    async def health() -> dict[str, str]:
        """The HTTP side is up."""
        return {"status": "ok"}

    @app.get("/ready", responses=refusals(429, 500, 503, 504, locked=False))
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
        return failed().response()
