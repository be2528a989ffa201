"""The Ray cluster a run works on: join or start one, and see that it is large enough."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ladd_ray.config import JobConfig

if TYPE_CHECKING:
    from ray.train import UserCallback

logger = logging.getLogger(__name__)

WORKER_ENVIRONMENT = {
    # Ray would change the workers' directory; ours is absolute everywhere, and imports need the driver's.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # glibc gives large tensors back to the system at once and page-faults them in again at every step.
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "10000000000",
    "TOKENIZERS_PARALLELISM": "false",
}


class Workers(Protocol):
    """How many workers there are, and what each needs."""

    @property
    def num_workers(self) -> int: ...

    @property
    def threads_per_worker(self) -> int: ...

    @property
    def device(self) -> Literal["cpu", "gpu"]: ...

    @property
    def cluster_timeout_s(self) -> float: ...


class ClusterConfig(Protocol):
    """What the configurations of all jobs share, of training and of evaluation."""

    @property
    def run(self) -> Workers: ...


@contextmanager
def cluster(config: ClusterConfig, *, beside: int = 0) -> Iterator[None]:
    """A connection to the cluster of this machine or of RAY_ADDRESS, or a private one that ends with the run.

    Args:
        config: of the job.
        beside: further actors, each as large as a worker, that run at the same time.

    Raises:
        ValueError: the cluster does not offer the workers in ``run.cluster_timeout_s``.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
    import ray

    ours = not ray.is_initialized()
    if ours:
        environment = WORKER_ENVIRONMENT | {"OMP_NUM_THREADS": str(config.run.threads_per_worker)}
        ray.init(
            runtime_env={"env_vars": environment},
            logging_level=logging.WARNING,
            # Every worker's thread pool would otherwise count one CPU for each core of the machine.
            configure_logging=True,
        )
    try:
        require_resources(config, beside=beside)
        yield
    finally:
        if ours:
            ray.shutdown()


def require_resources(config: ClusterConfig, *, beside: int = 0) -> None:
    """Wait until the cluster could hold all workers, and as many actors ``beside`` them.

    Raises:
        ValueError: it still cannot after ``run.cluster_timeout_s``; Ray itself would wait for ever.
    """
    import ray

    run = config.run
    count = run.num_workers + beside
    needed = {"CPU": float(count * run.threads_per_worker)}
    if run.device == "gpu":
        needed["GPU"] = float(count)
    deadline = time.monotonic() + run.cluster_timeout_s
    while lacking := _lacking(needed, ray.cluster_resources()):
        if time.monotonic() > deadline:
            teachers = ", data.online_teachers" if beside else ""
            raise ValueError(
                f"the cluster cannot hold {count} workers: {lacking}; lower run.num_workers{teachers} or "
                "run.threads_per_worker, or add nodes (run.cluster_timeout_s is how long to wait for them)"
            )
        logger.warning("waiting for the cluster: %s", lacking)
        time.sleep(5)


def require_state_api(*, timeout_s: float) -> None:
    """Wait until processes of the cluster reach its state API, by which Ray frees what a stopped trial's workers held.

    Raises:
        ValueError: they do not; those resources would stay taken, and every later trial wait for ever.
    """
    import ray

    @ray.remote(num_cpus=0)
    def answers() -> bool:
        from ray.util.state import list_nodes

        deadline = time.monotonic() + timeout_s
        while True:
            # Raises something else for every way not to reach it.
            with suppress(Exception):
                if list_nodes(limit=1, timeout=5, raise_on_missing_output=False):
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(1)

    if not ray.get(answers.remote()):
        raise ValueError(
            "the cluster's dashboard does not answer, and without it the resources of stopped trials stay taken: start "
            "the cluster with it (ray start --head does), give its processes RAY_ADDRESS where a machine has several "
            "clusters, or train inside the trials (--base run.num_workers 0 run.engine local)"
        )


def train_on_cluster(
    config: JobConfig,
    worker: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    *,
    callbacks: Sequence[UserCallback] = (),
) -> None:
    """Run ``worker(settings)`` on all workers of the job; a failed one restarts them from the last checkpoint.

    Args:
        config: of the job.
        worker: what each of them does.
        settings: what they are told.
        callbacks: hear of what the workers report.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    run = config.run
    on_gpu = run.device == "gpu"
    trainer = TorchTrainer(
        worker,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=run.num_workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": run.threads_per_worker, **({"GPU": 1} if on_gpu else {})},
        ),
        run_config=RunConfig(
            name="checkpoints",
            storage_path=str(run.path),
            failure_config=FailureConfig(max_failures=run.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=run.checkpoints_to_keep),
            # Ray's annotation still names the callbacks of its first version.
            callbacks=list(callbacks),  # type: ignore[arg-type]
        ),
    )
    trainer.fit()


def _lacking(needed: dict[str, float], offered: dict[str, float]) -> str:
    return ", ".join(
        f"needs {amount:g} {name}, has {offered.get(name, 0):g}"
        for name, amount in needed.items()
        if offered.get(name, 0) < amount
    )
