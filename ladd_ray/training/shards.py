"""A folder of stored rows, made once: whole or not at all, by one of the runs that want it."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
from filelock import FileLock
from tqdm.auto import tqdm

from ladd_ray.data.provenance import Facts

logger = logging.getLogger(__name__)


def make_once(folder: Path, facts: Facts, make: Callable[[Path], None]) -> Path:
    """The folder, made now if nobody made it before; a run that wants what another one is making waits for it.

    Args:
        folder: appears under its name when it is whole.
        facts: how it is made, which is noted in it.
        make: fills an empty folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            logger.info("reuse %s", folder)
            return folder
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        facts.write(unfinished)
        unfinished.rename(folder)
    return folder


def quiet_ray_data() -> None:
    """Our own bar counts images; Ray Data's bars and its lines about its plan would only bury it."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


@contextmanager
def progress_of(folder: Path, *, total: int | None, label: str) -> Iterator[None]:
    """A bar of the rows that have arrived in ``folder``, with rows/s and time left."""
    done = threading.Event()
    bar = tqdm(total=total, desc=label, unit="image", mininterval=5)

    def watch() -> None:
        finished = False
        while not finished:
            finished = done.wait(2.0)
            bar.update(_rows_in(folder) - bar.n)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        bar.close()


def _rows_in(folder: Path) -> int:
    """Rows of the files that are complete; one that is being written has no footer yet."""
    rows = 0
    for path in folder.glob("*.parquet"):
        with suppress(pa.ArrowInvalid, FileNotFoundError):
            rows += parquet.read_metadata(path).num_rows
    return rows
