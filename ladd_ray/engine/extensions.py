"""Compiled extensions, which DeepSpeed builds on CPU the first time it runs."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from torch.utils.cpp_extension import get_default_build_root

logger = logging.getLogger(__name__)

STALE_S = 600.0
"""No build takes as long."""


def clear_stale_build_locks() -> None:
    """A build that was killed leaves its lock behind, and all later ones would wait for it for ever."""
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    for lock in root.glob("**/lock"):
        with suppress(FileNotFoundError):  # Another worker was faster.
            if time.time() - lock.stat().st_mtime > STALE_S:
                lock.unlink()
                logger.warning("removed %s, which a build that was killed left behind", lock)
