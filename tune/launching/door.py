"""The door of the page: sessions, the page that asks for the token, and forms that other sites cannot send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from .access import SESSION_SECONDS, Gate
from .rendering import STYLE, TEMPLATES, page

COOKIE = "ladd_ray_sweeps"
MAX_BODY_BYTES = 64 * 1024
OPEN_PATHS = ("/login", "/static/page.css", "/static/launch.js")
"""For people who have not come in yet."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Form = dict[str, str]
router = APIRouter()


def gate_of(request: Request) -> Gate:
    """The application's."""
    gate: Gate = request.app.state.gate
    return gate


def form_key(request: Request) -> str:
    """What every form of this session must carry."""
    return gate_of(request).form_key(request.state.session)


async def keep_door(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Lets known sessions through, gives new ones where the gate is open, and shows everybody else the door."""
    gate, session = gate_of(request), request.cookies.get(COOKIE)
    is_new = not gate.knows(session)
    if is_new and gate.is_open and request.method == "GET":
        session = gate.new_session()
    elif is_new and request.url.path not in OPEN_PATHS:
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    request.state.session = session or ""
    response = await go_on(request)
    if is_new and gate.is_open and session:
        _remember(response, session, request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def any_form(request: Request) -> Form:
    """The fields of a form.

    Raises:
        HTTPException: it is too large.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too large.")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


async def own_form(request: Request) -> Form:
    """The fields of a form that comes from a page of the same session.

    Raises:
        HTTPException: it comes from elsewhere, or is too large.
    """
    form = await any_form(request)
    if not gate_of(request).is_form_key(form.pop("form_key", ""), session=request.state.session):
        raise HTTPException(HTTPStatus.FORBIDDEN, "This form is not from here, or too old: load its page anew.")
    return form


@router.get("/login")
def show_login(request: Request) -> Response:
    """Asks for the token."""
    gate = gate_of(request)
    if gate.is_open or gate.knows(request.state.session):
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)
    return page("login.html", {"problem": ""})


@router.post("/login")
def log_in(request: Request, form: Annotated[Form, Depends(any_form)]) -> Response:
    """Begins a session with the token."""
    gate = gate_of(request)
    if not gate.admits(form.get("token", "")):
        return page("login.html", {"problem": "That is not the cluster's token."}, status=HTTPStatus.FORBIDDEN)
    response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    _remember(response, gate.new_session(), request)
    return response


@router.post("/logout", dependencies=[Depends(own_form)])
def log_out(request: Request) -> Response:
    """Ends the session."""
    gate_of(request).end(request.state.session)
    response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/static/page.css")
def style() -> Response:
    """The style of all pages."""
    return FileResponse(STYLE, media_type="text/css")


@router.get("/static/launch.js")
def script() -> Response:
    """The script of all pages."""
    return FileResponse(TEMPLATES / "launch.js", media_type="text/javascript")


def _remember(response: Response, session: str, request: Request) -> None:
    response.set_cookie(
        COOKIE,
        session,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
