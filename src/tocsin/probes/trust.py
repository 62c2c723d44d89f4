"""The fields in which a target says whom to trust and how to show itself, checked as they are given.

Knows no kind. ``client_key`` must come after ``client_certificate`` in a model: the two are checked together.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from tocsin.lib.tls import check_authority, check_client


def _authority(pem: str) -> str:
    if pem:
        check_authority(pem)
    return pem


def _fits_certificate(key: SecretStr, info: ValidationInfo) -> SecretStr:
    certificate = info.data.get("client_certificate", "")
    if certificate or key.get_secret_value():
        check_client(certificate, key.get_secret_value())
    return key


Pem = Annotated[str, Field(max_length=65_536)]
AuthorityPem = Annotated[Pem, AfterValidator(_authority)]
ClientKey = Annotated[SecretStr, AfterValidator(_fits_certificate)]
"""Its field needs ``validate_default=True``: a certificate without a key is refused."""
