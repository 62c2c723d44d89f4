"""The worker: probes its share of the active targets, all day, and hands what it saw to its home."""

from tocsin.services.worker.worker import Worker, WorkerSettings

__all__ = ["Worker", "WorkerSettings"]
