"""Checkpoints that another number of ranks saved: conversion to DeepSpeed's universal layout.

ZeRO writes one piece per rank; the universal layout holds whole parameters, cut for any number of ranks.
The converter runs as a process of its own: it is a command-line program that prints, forks and takes memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

MAX_CONVERTER_PROCESSES = 8


@contextmanager
def universal_checkpoint(directory: Path, tag: str) -> Iterator[Path]:
    """Converts ``directory/tag`` on rank 0, yields the folder that holds the result as ``tag``; collective.

    The result lies inside ``directory``, which all ranks must share, and is removed afterwards.

    Raises:
        RuntimeError: the conversion failed; on all ranks, with the converter's last words.
    """
    outcome = [_convert(directory, tag) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(outcome, src=0)
    assert outcome[0] is not None
    scratch, problem = outcome[0]
    try:
        if problem:
            ranks = dist.get_world_size()
            raise RuntimeError(f"{directory} could not be converted for {ranks} ranks: {problem}")
        yield scratch
    finally:
        dist.barrier()
        if dist.get_rank() == 0:
            shutil.rmtree(scratch, ignore_errors=True)


def _convert(directory: Path, tag: str) -> tuple[Path, str]:
    """The scratch folder, and what went wrong or nothing. Does not raise: the other ranks wait for it."""
    scratch = Path(tempfile.mkdtemp(prefix="universal_", dir=directory))
    workers = str(min(MAX_CONVERTER_PROCESSES, os.cpu_count() or 1))
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--num_extract_workers", workers, "--num_merge_workers", workers]
    command += ["--input_folder", str(directory / tag), "--output_folder", str(scratch / tag)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return scratch, done.stderr[-2000:] if done.returncode else ""
