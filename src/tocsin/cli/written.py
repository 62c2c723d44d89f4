"""What people type about a target, a channel or a rule, put into the document that the catalog checks.
Knows no database and no probing.

An address says the kind by its scheme, so that ``tocsin target add https://shop.example`` is enough.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import BaseModel, TypeAdapter, ValidationError

from tocsin.cli.terminal import WrongUse

Fields = dict[str, Any]


def fields_of(address: str) -> Fields:
    """The fields an address stands for, its kind and a name among them. Raises ``WrongUse``."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise WrongUse(f"{address} is no address: {error}") from None
    read = ADDRESSES.get(parts.scheme.lower())
    if read is None or "://" not in address:
        forms = ", ".join(EXAMPLES.values())
        raise WrongUse(f"{address} does not say what to look at. An address begins like one of these: {forms}.")
    if not parts.hostname:
        raise WrongUse(f"{address} names no host.")
    name = parts.hostname if port is None else f"{parts.hostname}:{port}"
    return {"name": name, **read(parts, address)}


def _http(parts: SplitResult, address: str) -> Fields:
    return {"kind": "http", "url": address}


def _tcp(parts: SplitResult, address: str) -> Fields:
    if parts.port is None:
        raise WrongUse(f"{address} names no port: {EXAMPLES['tcp']}.")
    return {"kind": "tcp", "host": parts.hostname, "port": parts.port}


def _icmp(parts: SplitResult, address: str) -> Fields:
    return {"kind": "icmp", "host": parts.hostname}


def _tls(parts: SplitResult, address: str) -> Fields:
    return {"kind": "tls", "host": parts.hostname, **({} if parts.port is None else {"port": parts.port})}


def _dns(parts: SplitResult, address: str) -> Fields:
    """``dns://name?record=MX&resolver=192.0.2.53``"""
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {"kind": "dns", "host": parts.hostname, **asked}


ADDRESSES: Final[Mapping[str, Callable[[SplitResult, str], Fields]]] = {
    "http": _http,
    "https": _http,
    "tcp": _tcp,
    "icmp": _icmp,
    "ping": _icmp,
    "tls": _tls,
    "dns": _dns,
}
"""How to read an address, by its scheme."""

EXAMPLES: Final[Mapping[str, str]] = {
    "http": "https://shop.example/health",
    "tcp": "tcp://db.example:5432",
    "icmp": "ping://router.example",
    "dns": "dns://example.org?record=MX",
    "tls": "tls://mail.example:993",
}


def set_fields(model: type[BaseModel] | None, settings: Sequence[str]) -> Fields:
    """``field=value`` pairs. A value is taken as text where ``model``'s field takes text, as JSON where it does not."""
    fields: Fields = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign or not name.strip():
            raise WrongUse(f"{setting!r} is not field=value.")
        fields[name.strip()] = _value(model, name.strip(), text)
    return fields


def _value(model: type[BaseModel] | None, name: str, text: str) -> object:
    known = {field.alias or own: field for own, field in model.model_fields.items()} if model else {}
    if name in known and _takes_text(known[name].annotation, text):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _takes_text(annotation: Any, text: str) -> bool:
    try:
        TypeAdapter(annotation).validate_python(text, strict=True)
    except ValidationError:
        return False
    return True


def documents_in(path: Path) -> list[Fields]:
    """The targets in a JSON file: one, a list, or ``{"targets": […]}``; ``-`` is standard input."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise WrongUse(f"{path} is not JSON: {error}.") from None
    if isinstance(found, dict) and isinstance(found.get("targets"), list):
        found = found["targets"]
    documents = found if isinstance(found, list) else [found]
    if not all(isinstance(document, dict) for document in documents):
        raise WrongUse(f"{path} must hold a target, a list of targets, or an object with a list named targets.")
    return documents
