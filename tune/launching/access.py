"""Who may use the page: people who know the cluster's token, or, on an open cluster, whoever sits at this machine."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

from typing_extensions import override

MODE_VARIABLE, TOKEN_VARIABLE, TOKEN_PATH_VARIABLE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
TOKEN_FILE = Path("~/.ray/auth_token")
SESSION_SECONDS = 12 * 3600
PROBE_SECONDS = 10


def cluster_token() -> str | None:
    """The token of Ray's clusters, from where Ray itself looks for it; None where there is none."""
    if given := os.environ.get(TOKEN_VARIABLE, "").strip():
        return given
    file = Path(os.environ.get(TOKEN_PATH_VARIABLE) or TOKEN_FILE).expanduser()
    return (file.read_text().strip() or None) if file.is_file() else None


def expects_token() -> bool:
    """Whether Ray is told here that clusters have a token, and has one."""
    return os.environ.get(MODE_VARIABLE, "").lower() == "token" and cluster_token() is not None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What answers elsewhere, such as the login page of a proxy, says nothing about the cluster."""

    @override
    def redirect_request(self, *answer: Any) -> None:
        """Makes an error of it."""


def is_guarded(address: str) -> bool:
    """Whether the cluster wants a token.

    Raises:
        ValueError: no cluster answers there, or something else does.
    """
    try:
        urllib.request.build_opener(_NoRedirect).open(f"{address}/api/jobs/", timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError as answer:
        if answer.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return True
        raise ValueError(
            f"{address} answers {answer.code} ({answer.reason}), so whether the cluster asks for a token is unknown: "
            "give --address the cluster's dashboard itself, or try again when it is up"
        ) from answer
    except OSError as error:
        raise ValueError(
            f"no cluster answers at {address} ({error}): start one with `ray start --head`, or give --address"
        ) from error
    return False


class Gate:
    """Sessions almost without a store: a cookie carries its own end, and a seal that only this process can make.

    Args:
        token: The cluster's; None lets everybody in, which only a page for this machine alone may do.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._secret = secrets.token_bytes(32)
        self._ended: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether nobody has to know anything."""
        return self._token is None

    def admits(self, given: str) -> bool:
        """Whether this is the token; how long the answer takes tells nothing about it."""
        return self._token is not None and hmac.compare_digest(_digest(given.strip()), _digest(self._token))

    def new_session(self) -> str:
        """The value of a cookie for somebody who may come in."""
        facts = f"{secrets.token_urlsafe(16)}.{int(time.time()) + SESSION_SECONDS}"
        return f"{facts}.{self._seal('session', facts)}"

    def knows(self, session: str | None) -> bool:
        """Whether this process gave the cookie out, lately, and nobody has ended the session."""
        facts, _, seal = (session or "").rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal("session", facts).encode()):
            return False
        return session not in self._ended and int(facts.rpartition(".")[2]) > time.time()

    def end(self, session: str) -> None:
        """From now on the cookie opens nothing, wherever a copy of it lies."""
        self._ended.add(session)

    def form_key(self, session: str) -> str:
        """What forms of this session carry, so that other sites cannot send them."""
        return self._seal("form", session)

    def is_form_key(self, given: str, *, session: str) -> bool:
        """Whether a form comes from a page of this session."""
        return hmac.compare_digest(given.encode(), self.form_key(session).encode())

    def _seal(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose} {text}".encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
