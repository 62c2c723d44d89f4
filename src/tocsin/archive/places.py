"""Where files of the archive are: a folder, or a bucket of S3 or of what speaks like it. A file is there whole or not
at all, whenever whoever writes it is killed.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from tocsin.archive import ArchiveError

_LEFT_AFTER_S: Final = 86_400
"""What is still being written after so long was left by somebody who was killed."""


class Place(Protocol):
    """Names are relative, with slashes. Everything raises ArchiveError for what the place does not let happen."""

    url: str

    def names(self, under: str) -> list[str]:
        """The files below a folder, in order; none where there is no such folder."""
        ...

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file that takes the place of the one of this name at the end; not if the block raises."""
        ...

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes] | None]:
        """None where there is no such file."""
        ...


@dataclass(frozen=True, slots=True)
class S3Options:
    """What the bucket's address does not say. Keys None: as the environment says it (``AWS_*``, the machine's role)."""

    endpoint: str = ""
    region: str = ""
    access_key: str | None = None
    secret_key: str | None = None
    path_style: bool = True


def open_place(where: str, s3: S3Options | None = None) -> Place:
    """A folder's path, ``file:///folder`` or ``s3://bucket/prefix``. ``ValueError`` in words for anything else."""
    address = urlsplit(where)
    if address.scheme == "s3":
        if not address.netloc:
            raise ValueError("must name a bucket: s3://bucket/prefix")
        return Bucket(address.netloc, address.path.strip("/"), s3 or S3Options())
    if address.scheme == "file":
        return Folder(Path(address.path))
    if "://" in where or not where:
        raise ValueError("must be a folder or s3://bucket/prefix")
    return Folder(Path(where))


# ── a folder ──────────────────────────────────────────────────────────────────────────────────────────


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = str(root)

    def names(self, under: str) -> list[str]:
        try:
            # What is being written is hidden.
            found = (path for path in (self._root / under).rglob("[!.]*") if path.is_file())
            return sorted(path.relative_to(self._root).as_posix() for path in found)
        except OSError as error:
            raise ArchiveError(f"{self._root / under} cannot be read: {_words(error)}") from error

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        path = self._root / name
        part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear(path)
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync(path.parent)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be written: {_words(error)}") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes] | None]:
        path = self._root / name
        try:
            file = path.open("rb")
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {_words(error)}") from error
        with file:
            yield file


def _clear(path: Path) -> None:
    """Removes what was left by those who were killed while they wrote this file."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _LEFT_AFTER_S:
                part.unlink()


def _sync(folder: Path) -> None:
    """That a file is there now survives a power failure, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


# ── a bucket ──────────────────────────────────────────────────────────────────────────────────────────


class Bucket:
    """Files are written to a temporary file first and sent whole: an object appears when all of it has arrived."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError as error:
            raise ArchiveError(f"{self.url} needs obstore: `pip install obstore`") from error
        self._obstore: Any = obstore
        config: dict[str, Any] = {"virtual_hosted_style_request": not options.path_style}
        given = {
            "endpoint": options.endpoint,
            "region": options.region,
            "access_key_id": options.access_key,
            "secret_access_key": options.secret_key,
        }
        config |= {name: value for name, value in given.items() if value}
        client: Any = {"allow_http": options.endpoint.startswith("http://")}
        retry: Any = {"max_retries": 3}
        self._store = S3Store(bucket, prefix=prefix or None, client_options=client, retry_config=retry, **config)

    def names(self, under: str) -> list[str]:
        with self._said(f"{self.url}/{under}", "read"):
            return sorted(one["path"] for page in self._obstore.list(self._store, under) for one in page)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        where = f"{self.url}/{name}"
        try:
            with tempfile.TemporaryFile() as file:
                yield file
                file.seek(0)
                with self._said(where, "written"):
                    self._obstore.put(self._store, name, file)
        except OSError as error:
            raise ArchiveError(f"{where} cannot be written: {_words(error)}") from error

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes] | None]:
        where = f"{self.url}/{name}"
        with tempfile.TemporaryFile() as file:
            is_there = True
            with self._said(where, "read"):
                try:
                    for some in self._obstore.get(self._store, name).stream():
                        file.write(some)
                except FileNotFoundError:
                    is_there = False
            file.seek(0)
            yield file if is_there else None

    @contextmanager
    def _said(self, where: str, done: str) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ArchiveError(f"{where} cannot be {done}: {first}") from error
