"""A request of the page as a person would send it: with curl, and with the official client of OpenAI."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_OPENAI: Final = ("prompt", "model", "n", "size")
"""What the official client knows; everything else goes into ``extra_body``."""
KEY_VARIABLE: Final = "IMAGES_KEY"
"""Where the snippets look for a key: theirs never hold one."""


@dataclass(frozen=True)
class Snippets:
    """One request, twice."""

    curl: str
    python: str


def snippets(
    fields: Mapping[str, Any], *, address: str, files: Mapping[str, str] | None = None, keyed: bool
) -> Snippets:
    """How to ask for the same picture from elsewhere.

    Args:
        fields: of the request.
        address: of the endpoint, without a path.
        files: of an edit: field to file name.
        keyed: whether the endpoint asks for a key.
    """
    return Snippets(
        curl=_curl(fields, address=address, files=files or {}, keyed=keyed),
        python=_python(fields, address=address, files=files or {}, keyed=keyed),
    )


def _curl(fields: Mapping[str, Any], *, address: str, files: Mapping[str, str], keyed: bool) -> str:
    lines = [f"curl {address}/v1/images/{'edits' if files else 'generations'}"]
    if keyed:
        lines.append(f'--header "Authorization: Bearer ${KEY_VARIABLE}"')
    if files:
        lines += [f"--form {name}=@{file}" for name, file in files.items()]
        lines += [f"--form-string {shlex.quote(f'{name}={value}')}" for name, value in fields.items()]
    else:
        lines.append(f"--json {shlex.quote(json.dumps(dict(fields), ensure_ascii=False))}")
    return " \\\n  ".join(lines)


def _python(fields: Mapping[str, Any], *, address: str, files: Mapping[str, str], keyed: bool) -> str:
    key = f'os.environ["{KEY_VARIABLE}"]' if keyed else '"none"'
    known = {name: repr(value) for name, value in fields.items() if name in _OPENAI}
    arguments = {name: f'Path("{file}")' for name, file in files.items()} | known
    extras = {name: value for name, value in fields.items() if name not in _OPENAI}
    if extras:
        arguments["extra_body"] = repr(extras)
    verb = "edit" if files else "generate"
    return "\n".join(
        [
            "import base64",
            *(["import os"] if keyed else []),
            "from pathlib import Path",
            "",
            "import openai",
            "",
            f'client = openai.OpenAI(base_url="{address}/v1", api_key={key})',
            f"response = client.images.{verb}(",
            *(f"    {name}={value}," for name, value in arguments.items()),
            ")",
            "for image in response.data:",
            '    Path(f"{image.seed}.png").write_bytes(base64.b64decode(image.b64_json))',
        ]
    )
