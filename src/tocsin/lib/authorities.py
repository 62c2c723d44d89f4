"""Which authorities' certificates are trusted."""

from __future__ import annotations

import os

_SYSTEM_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS, BSD
)


def default_ca_file() -> str:
    """The authorities to trust, one PEM file: ``SSL_CERT_FILE``, else the system's, else those of Mozilla (certifi).

    The system's come first because people add their own authorities there. The library that makes connections was
    built on another system and knows only that one's path.
    """
    named = os.environ.get("SSL_CERT_FILE")
    candidates = [named] if named else _SYSTEM_CA_FILES
    found = next((path for path in candidates if os.path.isfile(path)), None)
    if found is None:
        import certifi  # seldom needed, and never small

        found = certifi.where()
    return found
