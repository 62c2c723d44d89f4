"""An outbound HTTP request, checked when it is made: addresses, methods, headers, credentials, proxies.

Pure: opens nothing and looks nothing up. What a server or a person may have chosen (a URL, a header) is refused here
when it could mean something else to libcurl or to the other side than it says.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, urlsplit

import idna

from tocsin.lib.resolve import IpVersion

HttpVersion = Literal["auto", "1.1", "2"]

MAX_BODY_BYTES: Final = 1024 * 1024
"""How much of a body is read unless a request says otherwise."""
USER_AGENT: Final = "Tocsin/0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request. Making it checks it and raises ``ValueError``; use it as often as you like.

    ``timeout_s`` is for everything: looking the name up, all redirects, the body. The body of the reply is read up
    to ``max_body_bytes`` (after decompression) and no further. Certificates and keys are PEM text; a given
    ``ca_certificate`` replaces the usual authorities. ``proxy`` is ``http://``, ``https://``, ``socks5://`` (names
    are looked up here) or ``socks5h://host:port`` (by the proxy).
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    timeout_s: float = 10.0
    follow_redirects: bool = True
    max_redirects: int = 10
    verify_tls: bool = True
    ca_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    proxy: str | None = None
    proxy_username: str | None = None
    proxy_password: str | None = field(default=None, repr=False)
    ip_version: IpVersion = "any"
    http_version: HttpVersion = "auto"
    max_body_bytes: int = MAX_BODY_BYTES
    user_agent: str = USER_AGENT
    place: Place = field(init=False, repr=False, compare=False)
    lines: list[bytes] = field(init=False, repr=False, compare=False)
    """The header lines as they are sent, credentials included."""
    open_lines: list[bytes] = field(init=False, repr=False, compare=False)
    """Those that may go to another origin: without credentials."""
    plain: bool = field(init=False, repr=False, compare=False)
    """It needs nothing of a connection but an address, so any handle serves."""

    def __post_init__(self) -> None:
        checked_method(self.method)
        place = place_of(self.url)
        if self.proxy is not None:
            proxy_of(self.proxy)
        lines, open_lines = _lines_of(self)
        object.__setattr__(self, "place", place)
        object.__setattr__(self, "lines", lines)
        object.__setattr__(self, "open_lines", open_lines)
        object.__setattr__(self, "plain", _is_plain(self))


class Place(NamedTuple):
    """Where a URL leads. ``url`` is all ASCII and without a fragment; ``host`` is a name or an IP literal."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST_NAME = re.compile(
    r"(?=.{1,253}\.?$)[0-9a-z_]([0-9a-z_-]{0,61}[0-9a-z_])?(\.[0-9a-z_]([0-9a-z_-]{0,61}[0-9a-z_])?)*\.?"
)
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?")
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"


@lru_cache(maxsize=4096)
def place_of(url: str) -> Place:
    """Raises ``ValueError`` for what is not a plain http or https address, saying what to do about it."""
    if _CONTROL.search(url):
        raise ValueError("it holds control characters")
    text = url.strip()
    if "\\" in text or " " in text:
        raise ValueError("it holds spaces or backslashes")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"it is no URL: {str(error).lower()}") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError("it must start with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not hold a user name or password: use the fields username and password")
    if port == 0:
        raise ValueError("port 0 cannot be contacted")
    host = host_of(parts.hostname or "")
    address = f"[{host}]" if ":" in host else host
    authority = address if port in (None, _PORTS[scheme]) else f"{address}:{port}"
    target = quote(parts.path or "/", safe=_URL_SAFE) + (
        f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else ""
    )
    return Place(f"{scheme}://{authority}{target}", scheme, host, port or _PORTS[scheme])


def host_of(text: str) -> str:
    """A name (international ones in their ASCII form) or an IP literal. Raises ``ValueError`` for anything else."""
    if not text:
        raise ValueError("it names no host")
    if "%" not in text:  # which would name an interface of this machine
        try:
            return str(ip_address(text))
        except ValueError:
            pass
    name = text.lower()
    if not name.isascii():
        name = _ascii_name(name)
    if _NUMBERS.fullmatch(name):
        raise ValueError(f"{text} is no valid IP address")
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{text} is no valid host name")
    return name


def _ascii_name(name: str) -> str:
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError(f"{name} is no valid host name") from None


def plain_text(text: str) -> str:
    """Raises ``ValueError`` for control characters: in a user name they end it, or begin what follows."""
    if _CONTROL.search(text):
        raise ValueError("it holds control characters")
    return text


def checked_method(method: str) -> str:
    if not _TOKEN.fullmatch(method) or method != method.upper() or method in ("CONNECT", "TRACE"):
        raise ValueError("it must be an HTTP method in capitals: GET, HEAD, POST, PUT …")
    return method


_OURS = {
    "content-length": "it is set from the body",
    "transfer-encoding": "it is set from the body",
    "connection": "every request has a connection of its own",
    "expect": "it is never needed",
}


def checked_header(name: str, value: str) -> None:
    """Raises ``ValueError`` for what could smuggle another header or request."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if (why := _OURS.get(name.lower())) is not None:
        raise ValueError(f"{name} cannot be given: {why}")
    if _CONTROL.search(value.replace("\t", " ")):
        raise ValueError(f"the value of {name} holds control characters")


_SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")


def _lines_of(request: HttpRequest) -> tuple[list[bytes], list[bytes]]:
    lines, open_lines = [], []
    for name, value in request.headers:
        checked_header(name, value)
        line = _line(name, value)
        lines.append(line)
        # The host that was named is not the host of another origin, and neither are its credentials.
        if name.lower() not in (*_SECRET_HEADERS, "host"):
            open_lines.append(line)
    given = {name.lower() for name, _ in request.headers}
    always = [b"Expect:"]
    if "user-agent" not in given:
        checked_header("User-Agent", request.user_agent)
        always.append(_line("User-Agent", request.user_agent))
    if "content-type" not in given:
        always.append(b"Content-Type:")
    credentials = _credentials(request)
    if credentials is not None:
        if "authorization" in given:
            raise ValueError("both an Authorization header and other credentials are given")
        lines.append(_line("Authorization", credentials))
    return lines + always, open_lines + always


def _line(name: str, value: str) -> bytes:
    # libcurl sends "Name;" as a header without a value and takes "Name:" as an order to leave it out.
    return f"{name}: {value}".encode() if value.strip() else f"{name};".encode()


def _credentials(request: HttpRequest) -> str | None:
    if request.bearer_token is not None:
        if request.username is not None or request.password is not None:
            raise ValueError("both a bearer token and a user name or password are given")
        checked_header("Authorization", request.bearer_token)
        return f"Bearer {request.bearer_token}"
    if request.username is None and request.password is None:
        return None
    pair = f"{request.username or ''}:{request.password or ''}"
    if ":" in (request.username or ""):
        raise ValueError("the user name holds a colon, which basic authentication cannot carry")
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _is_plain(request: HttpRequest) -> bool:
    return (
        request.method == "GET"
        and request.body is None
        and request.verify_tls
        and request.ca_certificate is None
        and request.client_certificate is None
        and request.proxy is None
        and request.http_version == "auto"
    )


_PROXY_PORTS = {"http": 1080, "https": 443, "socks5": 1080, "socks5h": 1080}


class Proxy(NamedTuple):
    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@lru_cache(maxsize=256)
def proxy_of(url: str) -> Proxy:
    """Raises ``ValueError`` for what is no proxy's address."""
    if _CONTROL.search(url) or " " in url:
        raise ValueError("it holds spaces or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"it is no URL: {str(error).lower()}") from None
    if parts.scheme not in _PROXY_PORTS:
        raise ValueError("it must start with http://, https://, socks5:// or socks5h://")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("it must end after the port")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not hold a user name or password: use proxy_username and proxy_password")
    return Proxy(parts.scheme, host_of(parts.hostname or ""), port or _PROXY_PORTS[parts.scheme])
