"""The page as a web application: the form and the list, and each sweep with its log and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from .access import Gate
from .command import CLUSTER_ERRORS, JobClient, send, submit
from .door import Form, form_key, gate_of, keep_door, own_form
from .door import router as door_router
from .files import entries, file_response, find_inside
from .order import RefusedOrderError, read_order
from .rendering import form_content, page
from .sweeps import SweepView, find_sweep, list_sweeps, log_tail

THIS_MACHINE = ("localhost", "127.0.0.1")
router = APIRouter()


@dataclass(frozen=True)
class Workplace:
    """What the page works with."""

    client: JobClient
    address: str
    """Of the cluster's dashboard."""
    directory: Path
    """Of all runs, absolute, on storage that the cluster shares."""
    working_dir: Path
    """The repository, whose code the cluster gets."""
    python: str
    """On the cluster."""


def build_app(workplace: Workplace, gate: Gate) -> FastAPI:
    """The whole application."""
    app = FastAPI(title="Sweeps", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.workplace, app.state.gate = workplace, gate
    app.middleware("http")(keep_door)
    if gate.is_open:
        # Without a token nothing else keeps a foreign site from giving its own name to this machine.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(THIS_MACHINE))
    app.include_router(door_router)
    app.include_router(router)
    app.exception_handler(AnyHTTPException)(_show_problem)
    return app


def workplace_of(request: Request) -> Workplace:
    """The application's."""
    workplace: Workplace = request.app.state.workplace
    return workplace


def sweep_of(request: Request, name: str) -> SweepView:
    """The sweep that a path names.

    Raises:
        HTTPException: there is none of that name.
    """
    workplace = workplace_of(request)
    if found := find_sweep(name, workplace.directory, workplace.client):
        return found
    raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no sweep called {name}.")


Here = Annotated[Workplace, Depends(workplace_of)]
Sweep = Annotated[SweepView, Depends(sweep_of)]


@router.get("/")
def show_home(request: Request, here: Here, recipe: str = "", space: str = "") -> Response:
    """The list and an empty form, for a recipe and a space."""
    chosen = {name: value for name, value in (("recipe", recipe), ("space", space)) if value}
    return _home(request, here, form_content(chosen, {}, was_sent=False, directory=here.directory))


@router.post("/")
def start(request: Request, here: Here, form: Annotated[Form, Depends(own_form)]) -> Response:
    """Starts what the form says, or shows it again with what is wrong."""
    try:
        order = read_order(form, directory=here.directory)
        submit(order, here.client, python=here.python, working_dir=here.working_dir)
    except RefusedOrderError as refusal:
        content = form_content(form, refusal.errors, was_sent=True, directory=here.directory)
        return _home(request, here, content, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    except CLUSTER_ERRORS as error:
        errors = {"form": f"The sweep was not started: {error}"}
        content = form_content(form, errors, was_sent=True, directory=here.directory)
        return _home(request, here, content, status=HTTPStatus.BAD_GATEWAY)
    return _to(order.config.run.name)


@router.get("/sweeps/{name}")
def show_sweep(request: Request, here: Here, sweep: Sweep) -> Response:
    """How a sweep is getting on."""
    return page("sweep.html", {"sweep": sweep, "log": log_tail(sweep, here.client), "form_key": form_key(request)})


@router.post("/sweeps/{name}/stop", dependencies=[Depends(own_form)])
def stop(here: Here, sweep: Sweep) -> Response:
    """Stops the job of a sweep; what is trained stays."""
    if sweep.is_active:
        _ask(lambda: here.client.stop_job(sweep.job.submission_id))
    return _to(sweep.name)


@router.post("/sweeps/{name}/resume", dependencies=[Depends(own_form)])
def resume(here: Here, sweep: Sweep) -> Response:
    """Gives the same command to the cluster once more: the sweep goes on where it stopped."""
    if sweep.job is None:
        raise HTTPException(
            HTTPStatus.CONFLICT, "The cluster no longer knows its command: repeat it on the command line."
        )
    if not sweep.is_active:
        job = sweep.job
        _ask(lambda: send(here.client, command=job.entrypoint, metadata=job.metadata, working_dir=here.working_dir))
    return _to(sweep.name)


@router.get("/sweeps/{name}/files/{path:path}")
def show_file(sweep: Sweep, path: str) -> Response:
    """A file of a sweep, or what lies in a folder of it."""
    found = find_inside(sweep.folder, path)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no {path} in {sweep.name}.")
    if found.is_file():
        return file_response(found, folder=sweep.folder)
    if path and not path.endswith("/"):
        return RedirectResponse(f"{Path(path).name}/", HTTPStatus.SEE_OTHER)
    return page("folder.html", {"sweep": sweep, "path": path, "entries": entries(found)})


def _home(request: Request, here: Workplace, form: dict[str, object], *, status: int = HTTPStatus.OK) -> Response:
    sweeps, problem = list_sweeps(here.directory, here.client)
    content = {
        "sweeps": sweeps,
        "problem": problem,
        "here": here,
        "form_key": form_key(request),
        "has_door": not gate_of(request).is_open,
        **form,
    }
    return page("home.html", content, status=status)


def _to(name: str) -> Response:
    # With 303 the browser asks for the page anew, so that loading it again sends no form again.
    return RedirectResponse(f"/sweeps/{name}", HTTPStatus.SEE_OTHER)


def _ask(request: Callable[[], object]) -> None:
    try:
        request()
    except CLUSTER_ERRORS as error:
        raise HTTPException(HTTPStatus.BAD_GATEWAY, f"The cluster refuses: {error}") from error


async def _show_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, AnyHTTPException)
    return page("problem.html", {"text": problem.detail}, status=problem.status_code)
