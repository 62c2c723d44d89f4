"""A plug-in's own fields beside the common ones: flat when people write them, apart at rest, secrets apart again.

Knows pydantic models only; no plug-in by name, no store.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any, Final, Literal, Protocol, TypeVar, get_args

import msgspec
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError, create_model
from pydantic_core import to_jsonable_python

from tocsin.catalog.errors import FieldError, Invalid, field_errors
from tocsin.lib.expressions import fit_text
from tocsin.lib.vault import Vault

C = TypeVar("C", bound=BaseModel)
M = TypeVar("M", bound=BaseModel)
W = TypeVar("W", bound="Sender")


@cache
def secret_names(settings: type[BaseModel]) -> tuple[str, ...]:
    """The fields of ``settings`` that are encrypted at rest and never shown again."""
    return tuple(name for name, field in settings.model_fields.items() if _is_secret(field.annotation))


def _is_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(_is_secret(part) for part in get_args(annotation))


def flat_model(name: str, common: type[C], settings: type[BaseModel], kind: str) -> type[C]:
    """One model of the common fields, the kind's own, and ``kind`` itself."""
    clash = (common.model_fields.keys() | {"kind"}) & settings.model_fields.keys()
    if clash:
        raise TypeError(f"{settings.__name__} names a field like a common one: {', '.join(sorted(clash))}")
    bases: Any = (common, settings)
    own: dict[str, Any] = {"kind": (Literal[kind], ...)}
    model: type[C] = create_model(name, __base__=bases, __doc__=settings.__doc__, **own)
    return model


def validated(model: type[M], document: Mapping[str, Any]) -> M:
    """``document``, as JSON gave it, as ``model``. Types must fit exactly: "60" is not a number.

    Raises ``Invalid`` with every field that is wrong.
    """
    all_of(FieldError(fit_text(name), _NO_TEXT) for name, value in document.items() if not _is_text(name, value))
    try:
        # Not msgspec, which writes NaN and Infinity as null: here they reach the field, which refuses them.
        return model.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        raise Invalid([_with_suggestion(problem, model) for problem in field_errors(error)]) from None


_NO_TEXT: Final = "holds a character that is no text (a lone surrogate)"


def _is_text(*values: object) -> bool:
    """Whether all text in ``values``, at any depth, can be written down."""
    try:
        msgspec.json.encode(values)
    except UnicodeEncodeError:
        return False
    except (OverflowError, RecursionError):
        pass  # the model says what is wrong with it
    return True


def _with_suggestion(problem: FieldError, model: type[BaseModel]) -> FieldError:
    if problem.message != "unknown field" or "." in problem.field:
        return problem
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(problem.field, known, n=1)
    return FieldError(problem.field, f"unknown field; did you mean {close[0]}?") if close else problem


def own_fields(settings: type[BaseModel], written: BaseModel) -> tuple[dict[str, Any], dict[str, str]]:
    """The kind's own fields of a flat model, for rest: plain values, and secrets in clear to be sealed.

    A secret that is set also stands among the plain values, as None, so that what is set can be told without a key.
    """
    secrets = set(secret_names(settings))
    plain = written.model_dump(mode="json", include=set(settings.model_fields) - secrets)
    clear: dict[str, str] = {}
    for name in secret_names(settings):
        secret = getattr(written, name)
        if secret is not None and secret.get_secret_value():
            plain[name] = None
            clear[name] = secret.get_secret_value()
    return plain, clear


def secrets_set(settings: type[BaseModel], stored: Mapping[str, Any]) -> list[str]:
    """Which secrets are set, from the plain values at rest."""
    return [name for name in secret_names(settings) if name in stored]


class AtRest(Protocol):
    """A row of something that has a kind."""

    @property
    def kind(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


class Sealed(AtRest, Protocol):
    """Such a row with its secrets: ciphertext, None where none is set."""

    @property
    def secrets(self) -> bytes | None: ...


def shown_fields(settings: type[BaseModel], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The kind's own fields but its secrets, from the plain values at rest, with what a row saved before a field
    existed has for it."""
    return {name: stored.get(name, default) for name, default in _defaults(settings).items()}


@cache
def _defaults(settings: type[BaseModel]) -> dict[str, Any]:
    return {
        name: None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in settings.model_fields.items()
        if name not in secret_names(settings)
    }


def clear_secrets(row: Sealed, vault: Vault) -> dict[str, object]:
    """Its secrets in clear. ``VaultError`` when they were sealed with another key."""
    return vault.open(row.secrets) if row.secrets is not None else {}


def kept_secrets(given: Mapping[str, Any], are_set: Collection[str]) -> list[str]:
    """Which of the secrets that are set stay as they are when ``given`` is changed."""
    return [name for name in are_set if given.get(name) is None]


class SendsSecrets(Protocol):
    """Every plug-in's settings."""

    def diverted(self, before: Any) -> Mapping[str, str]: ...


class Sender(Protocol):
    """Something checked that may be stored."""

    @property
    def sender(self) -> SendsSecrets:
        """The kind's own settings."""
        ...


def changed_whole(
    old: Sealed,
    base: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    settings: type[BaseModel],
    check: Callable[[Mapping[str, Any]], W],
    vault: Vault,
) -> W:
    """``given`` laid over ``base``, checked as a whole.

    A secret that is absent or null stays, "" clears it. One that would go to somebody it was not given for does not
    stay: ``Invalid`` names it. ``VaultError`` when one that stays cannot be read.
    """
    kept = kept_secrets(given, secrets_set(settings, old.settings))
    # Only opened for a secret that stays, so that whoever lost the key can give them all again.
    clear = clear_secrets(old, vault) if kept else {}
    whole = {**base, **with_kept_secrets(given, clear, secret_names(settings))}
    if whole["kind"] != old.kind:
        raise Invalid([FieldError("kind", f"is {old.kind} for good; make a new one for another kind")])
    checked = check(whole)
    before = settings.model_construct(**shown_fields(settings, old.settings))
    all_of(diverted(checked.sender, before, kept))
    return checked


def diverted(written: SendsSecrets, before: BaseModel, kept: Collection[str]) -> list[FieldError]:
    """An error for each of the secrets ``kept`` that would be shown to somebody it was not given for.

    Otherwise whoever may change things could read any stored secret by having it sent to an address of their own.
    """
    return [
        FieldError(name, f'give it again, or "" to do without: with this {field} it would go where it never went')
        for name, field in written.diverted(before).items()
        if name in kept
    ]


def with_kept_secrets(
    document: Mapping[str, Any], kept: Mapping[str, object], names: Collection[str]
) -> dict[str, Any]:
    """A change as people write it, completed with the secrets they could not see.

    Absent or null keeps the old one, "" clears it: null then, so that it also wins when laid over the old document.
    """
    completed = dict(document)
    for name in names:
        match completed.get(name):
            case None:
                completed.pop(name, None)
                if name in kept:
                    completed[name] = kept[name]
            case "" if name in kept:
                completed[name] = None
            case "":
                del completed[name]
    return completed


def all_of(*batches: Iterable[FieldError]) -> None:
    """Raises ``Invalid`` with everything that is wrong, if anything is."""
    wrong = [error for batch in batches for error in batch]
    if wrong:
        raise Invalid(wrong)
