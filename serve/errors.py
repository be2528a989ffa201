"""Every refusal as the official clients read it: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ladd_ray.admission import Overloaded
from ladd_ray.inference.studio import PromptTooLong

CLIENT_LEFT: Final = 499
"""nginx's status for requests whose client did not wait; nobody reads it but the logs."""
_LONGEST: Final = 500
"""Characters of what a refusal repeats of its request."""


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    """For people, with the way out."""
    type: str
    param: str | None = None
    """The parameter that is to blame."""
    code: str | None = None


class ErrorEnvelope(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorBody


@dataclass(frozen=True)
class Refusal:
    """An answer that is no success, as it travels from a model's replica to the gateway."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def envelope(self) -> ErrorEnvelope:
        """The body."""
        param = None if self.param is None else _printable(self.param)
        body = ErrorBody(message=_printable(self.message), type=_type_of(self.status), param=param, code=self.code)
        return ErrorEnvelope(error=body)

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.envelope.model_dump(), status_code=self.status, headers=dict(self.headers))


class ApiError(HTTPException):
    """Ends a request with a refusal. An ``HTTPException``, which all parsers of bodies let through."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status, refusal.message, refusal.headers)
        self.refusal = refusal

    def __str__(self) -> str:
        return self.refusal.message


def _printable(text: str) -> str:
    """Short, and without the halves of characters that JSON may hold and UTF-8 may not."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}..."


def _type_of(status: int) -> str:
    special = {
        HTTPStatus.UNAUTHORIZED: "authentication_error",
        HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
        HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
    }
    if status in special:
        return special[HTTPStatus(status)]
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """The request cannot be, whoever asks and whenever."""
    return ApiError(Refusal(HTTPStatus.BAD_REQUEST, message, param=param, code=code))


def too_busy(message: str, *, retry_after_s: int) -> ApiError:
    """The same request will do later."""
    headers = {"Retry-After": str(retry_after_s)}
    return ApiError(Refusal(HTTPStatus.TOO_MANY_REQUESTS, message, code="overloaded", headers=headers))


def too_late(message: str) -> ApiError:
    """The time that the request was given is over; the official clients would ask twice more, which helps nobody."""
    headers = {"x-should-retry": "false"}
    return ApiError(Refusal(HTTPStatus.GATEWAY_TIMEOUT, message, code="deadline_exceeded", headers=headers))


def too_large(max_bytes: int) -> ApiError:
    """More than any request needs."""
    message = f"the body is too large: at most {max_bytes} bytes"
    return ApiError(Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, code="body_too_large"))


def too_slow(within_s: float) -> ApiError:
    """A body that does not come to its end."""
    message = f"the body has not come within {within_s:g} seconds"
    return ApiError(Refusal(HTTPStatus.REQUEST_TIMEOUT, message, code="body_too_slow"))


def client_left() -> ApiError:
    """Nobody waits for the answer."""
    return ApiError(Refusal(CLIENT_LEFT, "the client has left", code="client_left"))


def failed() -> Refusal:
    """What must not happen; the log says what it was."""
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "something failed on our side: try again", code="internal_error")


def not_ready(message: str) -> ApiError:
    """A model that is being loaded, or restarted."""
    headers = {"Retry-After": "5"}
    return ApiError(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, code="model_not_ready", headers=headers))


def no_such_model(name: str, known: list[str]) -> ApiError:
    """Another model than those that are served."""
    message = f"The model {name!r} does not exist: leave model out, or use one of {', '.join(known)}"
    return ApiError(Refusal(HTTPStatus.NOT_FOUND, message, param="model", code="model_not_found"))


def from_drawing(error: Exception) -> ApiError:
    """What a studio raised: what the request is to blame for, and what we are."""
    match error:
        case Overloaded():
            return too_busy(str(error), retry_after_s=error.retry_after_s)
        case PromptTooLong():
            return bad_request(str(error), param="prompt", code="prompt_too_long")
        case ValueError():
            return bad_request(str(error))
        case TimeoutError():
            return too_late(str(error))
    return ApiError(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the model failed: try again", code="model_failed"))


def from_validation(error: ValidationError) -> ApiError:
    """The first complaint of a schema, with the parameter it is about."""
    return from_complaints(error.errors(include_url=False))


def from_complaints(complaints: Any) -> ApiError:
    """As ``from_validation``, from the complaints themselves."""
    first = complaints[0]
    param = ".".join(str(part) for part in first["loc"] if part != "body") or None
    if first["type"] == "extra_forbidden":
        return bad_request(f"Unknown parameter: {param!r}", param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return bad_request(f"Missing required parameter: {param!r}", param=param, code="missing_required_parameter")
    if first["type"] == "json_invalid":
        return bad_request("The body is no valid JSON", code="invalid_json")
    message = str(first["msg"]).removeprefix("Value error, ")
    return bad_request(
        f"Invalid value for {param!r}: {message}" if param else message, param=param, code="invalid_value"
    )
