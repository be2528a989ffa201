"""A visitor of the page without a browser: speaks Gradio's protocol, as its JavaScript does."""

from __future__ import annotations

import html
import json
import re
import secrets
from typing import Any
from urllib.parse import quote

import httpx2

from serve.page.mounting import KEY_COOKIE

TIMEOUT_S = 60


class Visit:
    """One open page."""

    def __init__(self, address: str, *, key: str = "") -> None:
        self.address = address
        self._cookies = {"cookie": f"{KEY_COOKIE}={quote(key)}"} if key else {}
        self._session = secrets.token_hex(5)
        config = httpx2.get(f"{address}/config", timeout=TIMEOUT_S).json()
        self._events = config["dependencies"]

    def join(self, event: str, *values: Any) -> httpx2.Response:
        """Send an event; an edit and a fill have the same name, and the fill fewer values."""
        known = [each for each in self._events if each["api_name"].rstrip("_0123456789") == event]
        found = next(each for each in known if len(each["inputs"]) == len(values))
        body = {"data": values, "fn_index": found["id"], "session_hash": self._session}
        return httpx2.post(f"{self.address}/gradio_api/queue/join", json=body, headers=self._cookies, timeout=TIMEOUT_S)

    def ask(self, event: str, *values: Any) -> list[Any]:
        """Send an event and wait for what the page shows in the end."""
        assert self.join(event, *values).status_code == 200
        url = f"{self.address}/gradio_api/queue/data?session_hash={self._session}"
        with httpx2.stream("GET", url, timeout=TIMEOUT_S) as response:
            for line in response.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line else {}
                if message.get("msg") == "process_completed":
                    assert message["success"], message
                    shown: list[Any] = message["output"]["data"]
                    return shown
        raise AssertionError("the stream ended before the event was done")


def words_of(update: Any) -> str:
    """What a notice says; empty where there is none."""
    value = update.get("value", "") if isinstance(update, dict) else update
    return html.unescape(re.sub(r"<[^>]*>", "", str(value or "")))


def url_of(gallery: Any) -> str:
    """The data URL of the first picture of a gallery."""
    url: str = gallery["value"][0]["image"]["url"]
    return url
