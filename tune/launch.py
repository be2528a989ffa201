"""Start, follow and stop sweeps in the browser, on a cluster that runs.

    ray start --head
    python tune/launch.py
    python tune/launch.py --address http://head:8265 --host 0.0.0.0 --runs /shared/runs

A cluster that asks for a token (RAY_AUTH_MODE=token) has it in ~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or
RAY_AUTH_TOKEN; the page asks for the same one. For a cluster without token it is open to this machine alone. It speaks
plain HTTP: from elsewhere, reach it through ssh -L 8266:127.0.0.1:8266 HOST, or behind a proxy with TLS.

Sweeps are jobs of the cluster: they go on without the page, and the dashboard knows them, too.
"""

from __future__ import annotations

import ipaddress
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro
import uvicorn

from tune.launching.access import Gate, cluster_token, expects_token, is_guarded
from tune.launching.app import THIS_MACHINE, Workplace, build_app
from tune.launching.command import CLUSTER_ERRORS

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Arguments:
    """Where the cluster is, and where the page."""

    address: str = "http://127.0.0.1:8265"
    """Of the cluster's dashboard."""
    host: str = "127.0.0.1"
    """Where the page listens. Beyond this machine only for a cluster with a token."""
    port: int = 8266
    """Of the page."""
    runs: Path = Path("runs")
    """Folder of all runs, on storage that the cluster shares."""
    python: str | None = None
    """Interpreter on the cluster; by default the one of this page where the cluster is on this machine, else python."""


def is_this_machine(host: str) -> bool:
    """Whether nobody else reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in THIS_MACHINE


def make_gate(arguments: Arguments) -> Gate:
    """Who may come in.

    Raises:
        ValueError: the page would be open to others, or the token is not at hand or not asked for.
    """
    if not is_guarded(arguments.address):
        if expects_token():
            raise ValueError(
                f"RAY_AUTH_MODE is token and a token is at hand, but {arguments.address} asks for none: start that "
                "cluster with RAY_AUTH_MODE=token, or unset it here"
            )
        if not is_this_machine(arguments.host):
            raise ValueError(
                f"the cluster asks for no token, so anybody who reaches {arguments.host} could run code: start the "
                "cluster with RAY_AUTH_MODE=token, or leave --host out"
            )
        logger.warning("the cluster asks for no token: the page is open to everybody on this machine, and only to them")
        return Gate(None)
    token = cluster_token()
    if token is None:
        raise ValueError(
            "the cluster asks for a token: put it into ~/.ray/auth_token or RAY_AUTH_TOKEN; `ray get-auth-token` on "
            "the head node prints it"
        )
    return Gate(token)


def make_workplace(arguments: Arguments) -> Workplace:
    """What the page works with.

    Raises:
        ValueError: the address is none, or the cluster refuses the token.
    """
    from ray.job_submission import JobSubmissionClient

    host = urlsplit(arguments.address).hostname or ""
    python = arguments.python or (sys.executable if is_this_machine(host) else "python")
    token = cluster_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        client = JobSubmissionClient(arguments.address, headers=headers)
    except CLUSTER_ERRORS as error:
        raise ValueError(f"{arguments.address} refuses: {error}") from error
    return Workplace(client, arguments.address, arguments.runs.expanduser().resolve(), ROOT, python)


def main() -> int:
    """Command line of the page; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        if urlsplit(arguments.address).scheme not in ("http", "https"):
            raise ValueError(f"--address {arguments.address} must begin with http:// or https://")
        app = build_app(make_workplace(arguments), make_gate(arguments))
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    logger.info("sweeps of %s: http://%s:%d", arguments.address, arguments.host, arguments.port)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
