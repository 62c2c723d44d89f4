"""The worker: probes active targets, all day, and hands what it saw to the pipeline."""

from tocsin.services.worker.worker import TargetChanges, Worker, WorkerSettings

__all__ = ["TargetChanges", "Worker", "WorkerSettings"]
