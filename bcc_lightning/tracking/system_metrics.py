"""The load of the machine during a run, as MLflow measures it: processors, memory, disk, network and GPUs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from bcc_lightning.tracking.run import TrackedRun


@contextmanager
def measured(run: TrackedRun) -> Iterator[None]:
    """Log the load of the machine to a run in this context, if that was chosen; a resumed run goes on with its curves."""
    if not run.tracking.system_metrics:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = cast(Any, SystemMetricsMonitor)(run.run_id, resume_logging=True, tracking_uri=run.tracking.resolved_uri)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
