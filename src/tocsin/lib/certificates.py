"""X.509 certificates as people read them. Knows no connection and no probe; parsing is cached by content."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes


class Certificate(NamedTuple):
    """One certificate of a chain, leaf first. Times are epoch ms; fingerprint is SHA-256 in hex."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before_ms: int
    not_after_ms: int
    serial: str
    fingerprint: str


@lru_cache(maxsize=2048)
def certificate_of_pem(pem: str) -> Certificate:
    """Raises ``ValueError`` for what is no certificate."""
    return _described(x509.load_pem_x509_certificate(pem.encode()))


@lru_cache(maxsize=2048)
def certificate_of_der(der: bytes) -> Certificate:
    """Raises ``ValueError`` for what is no certificate."""
    return _described(x509.load_der_x509_certificate(der))


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=_names(certificate),
        not_before_ms=int(certificate.not_valid_before_utc.timestamp() * 1000),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names and addresses it is valid for; an unreadable extension counts as absent."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    )
