"""A folder of stored rows, made once: by one of the runs that want it, and further by whoever comes after a kill."""

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

from ladd_ray.data.provenance import Facts, began_as, begin, finish, require_intact, require_same

logger = logging.getLogger(__name__)


def make_once(folder: Path, facts: Facts, make: Callable[[Path], None], *, setting: str) -> Path:
    """The folder, made now if nobody made it before; a run that wants what another one is making waits for it.

    Args:
        folder: appears under its name when it is whole.
        facts: how it is made, which is noted in it.
        make: fills a folder; it may find files there that a killed run has written, and leaves them.
        setting: what names the folder, for messages.

    Raises:
        ValueError: the folder is there and was made in another way, or was changed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if folder.is_dir():
            require_same(folder, facts, setting=setting)
            require_intact(folder)
            logger.info("reuse %s", folder)
            return folder
        unfinished = unfinished_folder(folder)
        if not began_as(unfinished, facts):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            begin(unfinished, facts)
        for left_over in unfinished.glob("*.part"):
            left_over.unlink()
        make(unfinished)
        finish(unfinished, facts)
        unfinished.rename(folder)
    return folder


def unfinished_folder(folder: Path) -> Path:
    """Where the files of a folder lie until it is whole."""
    return folder.with_name(folder.name + ".unfinished")


def quiet_ray_data() -> None:
    """Our own bar counts images; Ray Data's bars and its lines about its plan would only bury it."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


@contextmanager
def progress_of(folder: Path, *, total: int | None, label: str) -> Iterator[None]:
    """A bar of the rows that have arrived in ``folder``, with rows/s and time left."""
    done, counter = threading.Event(), RowCounter(folder)
    bar = tqdm(total=total, initial=counter.rows(), desc=label, unit="image", mininterval=5)

    def watch() -> None:
        finished = False
        while not finished:
            finished = done.wait(2.0)
            bar.update(counter.rows() - bar.n)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        bar.close()


class RowCounter:
    """Counts the rows that lie in a folder; every file is opened once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[str, int]()

    def rows(self) -> int:
        """Rows of the files that are there now."""
        for path in self._folder.glob("*.parquet"):
            if path.name not in self._known:
                with suppress(pa.ArrowInvalid, FileNotFoundError):
                    self._known[path.name] = parquet.read_metadata(path).num_rows
        return sum(self._known.values())
