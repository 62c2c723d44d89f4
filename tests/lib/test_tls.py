"""Which names a certificate covers, and what may be given as trust. Whole handshakes: ``tests/probes/test_tls.py``."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.probes.authority import Identity, identity
from tocsin.lib.certificates import Certificate, certificate_of_pem
from tocsin.lib.tls import TlsOptions, check_authority, check_client, context_of, covers


def certificate(*names: str) -> Certificate:
    return Certificate("CN=x", "CN=y", names, 0, 0, "1", "00")


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (("a.example",), "a.example", True),
        (("A.Example",), "a.EXAMPLE.", True),
        (("a.example",), "b.a.example", False),
        (("*.example",), "a.example", True),
        (("*.example",), "b.a.example", False),
        (("*.example",), "example", False),
        (("*.example",), ".example", False),
        (("a*.example",), "ab.example", False),
        (("b.example", "a.example"), "a.example", True),
        (("127.0.0.1",), "127.0.0.1", True),
        (("::1",), "0:0::1", True),
        (("*.0.0.1",), "127.0.0.1", False),
        (("xn--bcher-kva.example",), "bücher.example", True),
        ((), "a.example", False),
    ],
)
def test_names_a_certificate_covers(names: tuple[str, ...], host: str, covered: bool) -> None:
    assert covers(certificate(*names), host) is covered


def test_the_names_of_a_real_certificate() -> None:
    made = identity("x", "a.example", "*.b.example", "192.0.2.1")
    read = certificate_of_pem(made.pem)
    assert read.names == ("a.example", "*.b.example", "192.0.2.1")
    assert [covers(read, host) for host in ("a.example", "x.b.example", "192.0.2.1", "192.0.2.2")] == [True] * 3 + [
        False
    ]


def test_contexts_are_kept_per_options() -> None:
    assert context_of(TlsOptions()) is context_of(TlsOptions())
    assert context_of(TlsOptions(verify=False)) is not context_of(TlsOptions())


def test_a_key_never_shows_in_a_representation() -> None:
    assert "SECRET" not in repr(TlsOptions(client_key="SECRET"))


def test_trust_must_be_certificates() -> None:
    made = identity("x", authority=True)
    check_authority(made.pem)
    check_authority(made.pem + identity("y", authority=True).pem)
    for nonsense in ("nonsense", made.key_pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match="not a certificate in PEM form"):
            check_authority(nonsense)


def encrypted(made: Identity) -> str:
    return made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


def test_a_client_s_certificate_and_key_must_fit() -> None:
    made, other = identity("x"), identity("y")
    check_client(made.pem, made.key_pem)
    for certificate_pem, key, message in (
        (made.pem, other.key_pem, "the key does not belong to the certificate"),
        (made.pem, "", "must be in PEM form"),
        (made.pem, encrypted(made), "without a passphrase"),
        ("", made.key_pem, "a key without client_certificate"),
    ):
        with pytest.raises(ValueError, match=message):
            check_client(certificate_pem, key)
