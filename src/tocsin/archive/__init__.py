"""Samples of machines as Parquet, in a folder or on S3: written before retention drops them, and brought back.

A file is a tier and a day: ``tier=ticks/day=2026-03-01/samples.parquet``. ``places`` knows where files are, ``parquet``
what is in them, ``turn`` who may write now, ``archive`` what goes in and what comes out. Only ``parquet`` and
``archive`` load PyArrow, which is an optional extra, and only when there is an archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tocsin.settings import Settings
from tocsin.store.engine import Store

if TYPE_CHECKING:
    from tocsin.archive.archive import Archive


class ArchiveError(Exception):
    """It cannot be written or read. ``str()`` says what, where and why; nothing is lost by it."""


class ArchiveBusy(ArchiveError):
    """Somebody else is writing to it. Trying again later is right."""


def open_archive(store: Store, settings: Settings, where: str = "") -> Archive:
    """The archive at ``where``, or else where the settings say. Raises ArchiveError where it cannot be one."""
    try:
        from tocsin.archive.archive import Archive
    except ImportError as error:
        raise ArchiveError("the archive needs PyArrow: `pip install pyarrow obstore`") from error
    from tocsin.archive.places import S3Options, open_place

    secret = settings.s3_secret_key
    options = S3Options(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key=settings.s3_access_key or None,
        secret_key=None if secret is None else secret.get_secret_value(),
        path_style=settings.s3_path_style,
    )
    address = where or settings.archive_url
    if not address:
        raise ArchiveError("nowhere to archive to: TOCSIN_ARCHIVE_URL, or --to, names a folder or s3://bucket/prefix")
    try:
        return Archive(store, open_place(address, options))
    except ValueError as error:
        raise ArchiveError(f"{address}: {error}") from error
