"""TLS from our side: contexts, and what is wrong with a server's certificate in words.

Knows no socket and no probe. Trust is decided by OpenSSL; this module only explains the decision.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

from tocsin.core.schedule import describe_duration
from tocsin.lib.authorities import default_ca_file
from tocsin.lib.certificates import Certificate, certificate_of_der
from tocsin.lib.faults import ContactFailure

TlsVersion = Literal["1.2", "1.3"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CONTEXTS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How to greet a server. Certificates and the key are PEM text, empty for none.

    A given ``ca_certificate`` is trusted instead of the system's; it may be the server's own certificate.
    """

    verify: bool = True
    ca_certificate: str = ""
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)
    minimum_version: TlsVersion = "1.2"


@lru_cache(maxsize=_CONTEXTS_KEPT)
def context_of(options: TlsOptions) -> ssl.SSLContext:
    """Kept: reading the system's authorities takes tens of milliseconds.

    Raises ``ValueError`` for PEM text that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[options.minimum_version]
    context.hostname_checks_common_name = False  # as in browsers, and RFC 9525
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca_certificate:
        # What an operator hands over need not be a root: an intermediate or the server's own certificate will do.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _trust(context, options.ca_certificate)
    else:
        context.load_verify_locations(cafile=default_ca_file())
    if options.client_certificate:
        _present(context, options.client_certificate, options.client_key)
    return context


def check_authority(pem: str) -> None:
    """Raises ``ValueError`` unless ``pem`` can serve as ``TlsOptions.ca_certificate``."""
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pem)


def check_client(certificate: str, key: str) -> None:
    """Raises ``ValueError`` unless ``key`` is the key of ``certificate``."""
    if not certificate:
        raise ValueError("a key without client_certificate")
    _present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)


def _trust(context: ssl.SSLContext, pem: str) -> None:
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError):  # the last for what is not ASCII
        raise ValueError("not a certificate in PEM form") from None


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # The ssl module reads a certificate and its key from files only; these exist for a moment, for this user alone.
    with tempfile.TemporaryDirectory(prefix="tocsin-") as directory:
        path = Path(directory) / "client.pem"
        path.touch(mode=0o600)
        path.write_text(f"{certificate}\n{key}\n")
        try:
            context.load_cert_chain(path, password=_no_passphrase)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ValueError("the key does not belong to the certificate") from None
            raise ValueError("the certificate and its key must be in PEM form, the key without a passphrase") from None


def _no_passphrase() -> str:
    """Without this OpenSSL would ask on the terminal."""
    return ""


class TlsSession(NamedTuple):
    """What was agreed. ``certificates`` is the chain as the server sent it, leaf first."""

    version: str
    cipher: str
    certificates: tuple[Certificate, ...]


def session_of(connection: ssl.SSLObject) -> TlsSession:
    cipher = connection.cipher()
    return TlsSession(
        version=connection.version() or "",
        cipher=cipher[0] if cipher else "",
        certificates=chain_of(connection),
    )


def chain_of(connection: ssl.SSLObject) -> tuple[Certificate, ...]:
    """The chain as the server sent it, leaf first; OpenSSL 3 knows it even after it refused it, 1.1.1 does not."""
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # Python 3.13
        return tuple(certificate_of_der(der) for der in public())
    chain = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    return tuple(certificate_of_der(_der_of(certificate)) for certificate in chain)


def _der_of(certificate: object) -> bytes:
    der: bytes = certificate.public_bytes(_DER)  # type: ignore[attr-defined]
    return der


_DER = 2  # _ssl.ENCODING_DER


# What is wrong


class CertificateProblem(NamedTuple):
    code: str
    message: str


class CertificateRefused(ContactFailure):
    """The certificate is not one to trust for this name. ``problems`` has all that is wrong, worst first."""

    def __init__(self, problems: Sequence[CertificateProblem], certificates: tuple[Certificate, ...]) -> None:
        super().__init__(problems[0].code, "; ".join(problem.message for problem in problems), network=False)
        self.problems = tuple(problems)
        self.certificates = certificates

    @property
    def hostname_ok(self) -> bool:
        return all(problem.code != "tls_hostname" for problem in self.problems)

    @property
    def chain_ok(self) -> bool:
        return all(problem.code == "tls_hostname" for problem in self.problems)


# OpenSSL's verify results: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_SELF_SIGNED = (18,)
_UNTRUSTED = (2, 19, 20, 21, 27)
_DATES = (9, 10)
_NAMES = (62, 64)


def refused(
    error: ssl.SSLCertVerificationError, certificates: tuple[Certificate, ...], name: str, now_ms: int
) -> CertificateRefused:
    """Why OpenSSL did not accept ``certificates`` for ``name``, in words.

    OpenSSL stops at the first thing it dislikes; a certificate that is expired and for another name as well is told
    as both.
    """
    code = error.verify_code
    problems = _date_problems(certificates, now_ms, issuers_too=code in _DATES)
    leaf = certificates[0] if certificates else None
    if code in _NAMES or (leaf is not None and not covers(leaf, name)):
        problems.append(CertificateProblem("tls_hostname", _wrong_host(leaf, name)))
    if code in _SELF_SIGNED or (leaf is not None and leaf.subject == leaf.issuer and code in _UNTRUSTED):
        problems.append(CertificateProblem("tls_self_signed", "the certificate is self-signed and not trusted here"))
    elif code in _UNTRUSTED:
        problems.append(CertificateProblem("tls_untrusted", _untrusted(certificates)))
    if not problems:
        problems.append(
            CertificateProblem("tls_untrusted", f"the certificate is not accepted: {error.verify_message.lower()}")
        )
    return CertificateRefused(problems, certificates)


def _date_problems(certificates: Sequence[Certificate], now_ms: int, *, issuers_too: bool) -> list[CertificateProblem]:
    """A server may send an old issuer nobody needs; issuers are looked at only where dates are the trouble."""
    problems = []
    for position, certificate in enumerate(certificates if issuers_too else certificates[:1]):
        what = "the certificate" if position == 0 else f"the issuer's certificate ({certificate.subject})"
        if now_ms > certificate.not_after_ms:
            ago = describe_duration(now_ms - certificate.not_after_ms)
            problems.append(
                CertificateProblem("tls_expired", f"{what} expired {ago} ago, on {_when(certificate.not_after_ms)}")
            )
        elif now_ms < certificate.not_before_ms:
            begins = _when(certificate.not_before_ms)
            problems.append(CertificateProblem("tls_not_yet_valid", f"{what} is not valid before {begins}"))
    return problems


def _wrong_host(leaf: Certificate | None, name: str) -> str:
    if leaf is None:
        return f"the certificate is not for {name}"
    if not leaf.names:
        return f"the certificate names no host, so it is not for {name}"
    shown = ", ".join(leaf.names[:5]) + (f" and {len(leaf.names) - 5} more" if len(leaf.names) > 5 else "")
    return f"the certificate is for {shown}, not for {name}"


def _untrusted(certificates: Sequence[Certificate]) -> str:
    if not certificates:
        return "the certificate's issuer is not trusted here"
    missing = certificates[-1].issuer
    if len(certificates) == 1:
        return (
            f"the certificate's issuer ({missing}) is not trusted here, "
            "or the server does not send the issuer's certificate"
        )
    return f"the certificate leads to {missing}, which is not trusted here"


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def covers(certificate: Certificate, name: str) -> bool:
    """Whether ``certificate`` is for ``name`` (a host name or an IP literal), as RFC 9525 has it."""
    try:
        wanted = str(ip_address(name))
    except ValueError:
        pass
    else:
        return wanted in certificate.names
    wanted = _ascii(name)
    return any(_same_host(pattern.lower().rstrip("."), wanted) for pattern in certificate.names)


def _same_host(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        first, dot, rest = name.partition(".")
        return bool(first and dot) and rest == pattern[2:]
    return pattern == name


def _ascii(name: str) -> str:
    lowered = name.lower().rstrip(".")
    try:
        return lowered.encode("idna").decode()
    except UnicodeError:
        return lowered


# The handshake


def handshake_failure(error: ssl.SSLError, where: str) -> ContactFailure:
    """What a failed handshake with ``where`` means, for everything but a refused certificate."""
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return ContactFailure("tls_not_spoken", f"{where} does not speak TLS", network=False)
    if reason in _NO_VERSION:
        return ContactFailure("tls_version", f"{where} offers no TLS version that is accepted here", network=False)
    if isinstance(error, ssl.SSLEOFError):
        return ContactFailure("tls_handshake", f"{where} closed the connection during the TLS handshake", network=False)
    words = reason.lower().replace("_", " ") or str(error)
    return ContactFailure("tls_handshake", f"the TLS handshake with {where} failed: {words}", network=False)


_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "BAD_RECORD_TYPE"}
)
_NO_VERSION = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"}
)
