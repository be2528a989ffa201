"""What lies in the folder of a sweep, for people who may see it. Only the report is shown as a page."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import FileResponse

from .sweeps import REPORT_FILE

PICTURES = {".png": "image/png", ".webp": "image/webp"}
TEXTS = (".csv", ".json", ".jsonl", ".log", ".md", ".txt", ".yaml", ".yml")
REPORT_TYPES = {REPORT_FILE: "text/html; charset=utf-8", "plotly.min.js": "text/javascript; charset=utf-8"}
REPORT_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; worker-src 'none'; "
    "sandbox allow-scripts allow-same-origin"
)
"""The report brings its style and script along, which were written by us; texts of others are escaped in it.

Whoever writes into the folder could change that: without windows, workers and forms, a script here cannot press the
buttons of the other pages. An origin of its own would have no session, and get neither its pictures nor its charts.
"""


def find_inside(folder: Path, name: str) -> Path | None:
    """The file or folder of that name inside ``folder``; None where there is none, or where it lies outside."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (ValueError, OSError):
        return None
    return path if path.is_relative_to(root) and path.exists() else None


def file_response(path: Path, *, folder: Path) -> FileResponse:
    """A file of the sweep in ``folder``, as a picture, a text, the sweep's report, or else as something to keep."""
    if path.name in REPORT_TYPES and path.parent == folder.resolve():
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return FileResponse(path, media_type=REPORT_TYPES[path.name], headers=headers)
    if path.suffix in PICTURES:
        return FileResponse(path, media_type=PICTURES[path.suffix])
    if path.suffix in TEXTS:
        return FileResponse(path, media_type="text/plain; charset=utf-8")
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


def entries(folder: Path) -> list[str]:
    """Names of what lies in a folder; those of folders end with a slash."""
    return sorted(f"{path.name}{'/' if path.is_dir() else ''}" for path in folder.iterdir())
