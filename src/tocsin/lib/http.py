"""Outbound HTTP with its guard. One engine serves probes and channels alike.

It measures, and says what happened in plain words; it knows no target, no verdict, no assertion and no message.

Every exchange is a new connection to an address that was looked up here and passed the guard; libcurl is told to
connect to that address whatever the URL says (CONNECT_TO), so a name that changes between looking and connecting
(rebinding) leads nowhere else. Redirects are followed here for the same reason.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import urljoin

import pycurl

from tocsin.lib.authorities import default_ca_file
from tocsin.lib.certificates import Certificate, certificate_of_pem
from tocsin.lib.curl import BEST_WATCH, CurlDriver, Watch
from tocsin.lib.faults import ContactFailure, OwnFault, fault_of_errno
from tocsin.lib.guard import AddressGuard
from tocsin.lib.http_request import HttpRequest, HttpVersion, Place, Proxy, place_of, proxy_of
from tocsin.lib.phases import NO_PHASES, Phases
from tocsin.lib.resolve import Resolver

__all__ = ["HttpEngine", "HttpFailure", "HttpReply", "HttpRequest", "HttpVersion", "Journey", "Redirect"]

_LOOK_AT_CHAIN_S: Final = 3.0
"""How long a second handshake may take, made only to show the certificates that were not trusted."""
_IDLE_KEPT: Final = 256
"""Handles kept for the next exchange; one holds about 30 kB."""
_REDIRECTING: Final = frozenset((301, 302, 303, 307, 308))


class Redirect(NamedTuple):
    """A reply that pointed elsewhere: what was asked, the answer, where it pointed."""

    url: str
    status: int
    location: str


@dataclass(slots=True)
class Journey:
    """How far an exchange came, over all its redirects."""

    phases: Phases = NO_PHASES
    """Each phase summed over the redirects. The phase in which it failed holds the time it waited there."""
    address: str | None = None
    """The address last connected to: the target's, or the proxy's."""
    redirects: tuple[Redirect, ...] = ()
    chain: tuple[str, ...] = ()
    """The certificates last seen, PEM, leaf first."""

    @property
    def total_us(self) -> int:
        return sum(phase for phase in self.phases if phase is not None)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return tuple(certificate_of_pem(pem) for pem in self.chain)


class HttpReply:
    """What came back. ``body`` holds at most what was asked for; ``truncated`` says that there was more."""

    def __init__(
        self,
        *,
        status: int,
        version: str,
        url: str,
        head: Sequence[bytes],
        body: bytes,
        truncated: bool,
        journey: Journey,
    ) -> None:
        self.status = status
        self.version = version
        """``1.0``, ``1.1``, ``2`` or ``3``."""
        self.url = url
        """Where the redirects ended."""
        self.body = body
        self.truncated = truncated
        self.journey = journey
        self._head = head

    @property
    def phases(self) -> Phases:
        return self.journey.phases

    @property
    def total_us(self) -> int:
        return self.journey.total_us

    @property
    def address(self) -> str | None:
        return self.journey.address

    @property
    def redirects(self) -> tuple[Redirect, ...]:
        return self.journey.redirects

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The chain the server sent, leaf first; empty where there was no TLS."""
        return self.journey.certificates

    @cached_property
    def headers(self) -> list[tuple[str, str]]:
        """As they came, in their order."""
        return _headers_of(self._head)

    def header(self, name: str) -> str | None:
        """The first of that name (given in lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class HttpFailure(ContactFailure):
    """No reply, or none to be used. ``journey`` says how far it came."""

    def __init__(self, code: str, message: str, *, network: bool, journey: Journey) -> None:
        super().__init__(code, message, network=network)
        self.journey = journey

    @property
    def phases(self) -> Phases:
        return self.journey.phases


class HttpEngine:
    """Fetches, any number at once, on the event loop it was made on. ``close`` ends what is under way."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        guard: AddressGuard,
        ca_file: str | None = None,
        watch: type[Watch] = BEST_WATCH,
    ) -> None:
        """``ca_file``: the trusted authorities, PEM; None takes the system's, or those that came with us."""
        self._resolver = resolver
        self._guard = guard
        self._ca_file = ca_file or default_ca_file()
        self._driver = CurlDriver(watch)
        self._idle: list[_Exchange] = []

    def close(self) -> None:
        self._driver.close()
        for exchange in self._idle:
            exchange.curl.close()
        self._idle.clear()

    def behind_s(self) -> float:
        """For how long fetches have been waiting for this process rather than for the other side."""
        return self._driver.behind_s()

    async def fetch(self, request: HttpRequest, *, timeout_s: float | None = None) -> HttpReply:
        """The reply, whatever its status. ``timeout_s`` overrides the request's own.

        Raises ``HttpFailure`` when there is none, and ``OwnFault`` when this machine could not even try. Ends within
        the timeout. Cancelling it closes its connection.
        """
        trip = _Trip(request, request.timeout_s if timeout_s is None else timeout_s, self._driver.loop.time())
        leg = _Leg(request.place, request.method, request.body, at_home=True)
        while True:
            reply = await self._go(trip, leg)
            if reply.status not in _REDIRECTING or not request.follow_redirects:
                return reply
            location = reply.header("location")
            if location is None:
                return reply
            leg = trip.next_leg(leg, reply.status, location)

    async def _go(self, trip: _Trip, leg: _Leg) -> HttpReply:
        """One request to one place, without following where it points."""
        began = self._driver.loop.time()
        route = await self._route(trip, leg.place)
        found = self._driver.loop.time()
        request, journey = trip.request, trip.journey
        exchange = self._idle.pop() if request.plain and self._idle else _Exchange(self._ca_file)
        try:
            exchange.prepare(request, leg, route, timeout_s=trip.deadline - found)
            code, words = await self._driver.run(exchange.curl)
            secure = leg.place.scheme == "https"
            journey.phases = _sum(journey.phases, exchange.phases(secure, int((found - began) * 1_000_000)))
            journey.address = exchange.curl.getinfo(pycurl.PRIMARY_IP) or route.address
            journey.chain = exchange.chain() if secure else ()
            if code == pycurl.E_OK or (code == pycurl.E_WRITE_ERROR and exchange.truncated):
                return exchange.reply(leg.place.url, journey)
            fault = _fault(code, words, exchange, leg.place, trip)
        finally:
            exchange.clear()
            # A special one holds what belongs to its request alone: keys, proxies, other authorities.
            if request.plain and len(self._idle) < _IDLE_KEPT:
                self._idle.append(exchange)
            else:
                exchange.curl.close()
        if code == pycurl.E_SSL_PEER_CERTIFICATE and not journey.chain:
            journey.chain = await self._shown_chain(trip, leg, route)
        raise fault

    async def _route(self, trip: _Trip, place: Place) -> _Route:
        """The permitted addresses of ``place``, or of the proxy before it, looked up within the deadline."""
        request = trip.request
        try:
            if request.proxy is None:
                addresses = self._resolver.known(place.host, request.ip_version)
                if addresses is None:
                    addresses = await self._looked_up(trip, place.host)
                return _direct(self._guard.permitted(place.host, addresses))
            proxy = proxy_of(request.proxy)
            pins = [_Pin(proxy.host, await self._permitted(trip, proxy.host), proxy.port)]
            if proxy.scheme == "socks5":
                pins.append(_Pin(place.host, await self._permitted(trip, place.host), place.port))
            elif (addresses := self._resolver.known(place.host)) is not None:
                # Names are the proxy's to look up; what is an address already can be judged here.
                self._guard.permitted(place.host, addresses)
            return _Route(None, tuple(pins), proxy)
        except HttpFailure:
            raise
        except ContactFailure as failure:
            raise trip.told(failure) from None

    async def _permitted(self, trip: _Trip, host: str) -> tuple[str, ...]:
        return self._guard.permitted(host, await self._looked_up(trip, host))

    async def _looked_up(self, trip: _Trip, host: str) -> Sequence[str]:
        began = self._driver.loop.time()
        try:
            async with asyncio.timeout_at(trip.deadline):
                return await self._resolver.resolve(host, trip.request.ip_version)
        except TimeoutError:
            trip.spent_looking(self._driver.loop.time() - began)
            raise trip.failure("timeout", trip.timed_out(f"looking up {host}"), network=True) from None
        except ContactFailure:
            trip.spent_looking(self._driver.loop.time() - began)
            raise

    async def _shown_chain(self, trip: _Trip, leg: _Leg, route: _Route) -> tuple[str, ...]:
        """The certificates of a server that was not trusted, which libcurl no longer tells: a handshake that trusts
        anyone and sends nothing. Empty when it fails as well."""
        left_s = min(trip.deadline - self._driver.loop.time(), _LOOK_AT_CHAIN_S)
        if left_s <= 0:
            return ()
        exchange = _Exchange(self._ca_file)
        try:
            exchange.prepare(trip.request, leg, route, timeout_s=left_s)
            exchange.only_shake_hands()
            await self._driver.run(exchange.curl)
            return exchange.chain()
        finally:
            exchange.curl.close()


class _Leg(NamedTuple):
    """One request of a trip: redirects change the place, and may change the method and drop the body."""

    place: Place
    method: str
    body: bytes | None
    at_home: bool
    """The origin is the one the request names, so its credentials may be sent."""


class _Pin(NamedTuple):
    """An entry for libcurl's address book: a name and the addresses it stands for; any port when that is None."""

    name: str
    addresses: tuple[str, ...]
    port: int | None = None

    def entry(self, port: int) -> str:
        """The plus sign lets it expire, as any answer does, instead of staying for good."""
        return f"+{self.name}:{self.port or port}:{','.join(map(_bracketed, self.addresses))}"


class _Route(NamedTuple):
    """How to reach a place. ``connect_to`` names whom to connect to whatever the URL says; it is None where a proxy
    is in between, which the URL's host must reach as it is. ``pins`` are the names libcurl has to know."""

    connect_to: list[str] | None
    pins: tuple[_Pin, ...] = ()
    proxy: Proxy | None = None
    address: str | None = None
    """The one address it can lead to; None when there are several."""


@lru_cache(maxsize=16_384)
def _direct(addresses: tuple[str, ...]) -> _Route:
    """Several addresses get a made-up name of their own: libcurl races them as it does for any name (RFC 8305)."""
    if len(addresses) == 1:
        return _Route([f"::{_bracketed(addresses[0])}:"], address=addresses[0])
    name = blake2b(",".join(addresses).encode(), digest_size=16).hexdigest() + ".invalid"
    return _Route([f"::{name}:"], (_Pin(name, addresses),))


class _Trip:
    """One fetch with all its redirects: what was asked, by when, and how far it has come."""

    __slots__ = ("deadline", "journey", "limit_s", "request")

    def __init__(self, request: HttpRequest, limit_s: float, now: float) -> None:
        self.request = request
        self.limit_s = limit_s
        self.deadline = now + limit_s
        self.journey = Journey()

    def failure(self, code: str, message: str, *, network: bool = False) -> HttpFailure:
        return HttpFailure(code, message, network=network, journey=self.journey)

    def told(self, fault: ContactFailure | OwnFault) -> HttpFailure | OwnFault:
        """The same with how far it came."""
        if isinstance(fault, OwnFault):
            return fault
        return self.failure(fault.code, fault.message, network=fault.network)

    def timed_out(self, doing: str) -> str:
        return f"timed out after {self.limit_s:g} s {doing}"

    def spent_looking(self, seconds: float) -> None:
        self.journey.phases = _sum(self.journey.phases, Phases(dns_us=int(seconds * 1_000_000)))

    def next_leg(self, leg: _Leg, status: int, location: str) -> _Leg:
        """Where a redirect leads. Methods change as browsers change them (Fetch standard, HTTP-redirect fetch)."""
        journey, limit = self.journey, self.request.max_redirects
        journey.redirects += (Redirect(leg.place.url, status, location),)
        if len(journey.redirects) > limit:
            raise self.failure("too_many_redirects", f"more than {limit} redirects; the last leads to {location[:200]}")
        try:
            place = place_of(_unspaced(urljoin(leg.place.url, location)))
        except ValueError as error:
            raise self.failure(
                "bad_redirect", f"redirected to {location[:200]!r}, which cannot be followed: {error}"
            ) from None
        at_home = place.origin == self.request.place.origin
        if (status in (301, 302) and leg.method == "POST") or (status == 303 and leg.method != "HEAD"):
            return _Leg(place, "GET", None, at_home)
        return _Leg(place, leg.method, leg.body, at_home)


def _unspaced(url: str) -> str:
    """Servers send spaces in Location, as browsers forgive; credentials in it are not ours to use."""
    return url.strip().replace(" ", "%20")


_BASE_OPTIONS: Final = (
    (pycurl.NOSIGNAL, 1),
    (pycurl.FRESH_CONNECT, 1),
    (pycurl.FORBID_REUSE, 1),
    (pycurl.SSL_SESSIONID_CACHE, 0),
    (pycurl.SSL_EC_CURVES, "X25519:P-256:P-384"),
    (pycurl.OPT_CERTINFO, 1),
    (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    (pycurl.FOLLOWLOCATION, 0),
    (pycurl.ACCEPT_ENCODING, ""),  # every encoding libcurl can undo
    (pycurl.PROXY, ""),  # whatever the environment says
    (pycurl.NOPROXY, ""),
)
_BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))
_VERSIONS: Final = {
    pycurl.CURL_HTTP_VERSION_1_0: "1.0",
    pycurl.CURL_HTTP_VERSION_1_1: "1.1",
    pycurl.CURL_HTTP_VERSION_2: "2",
    pycurl.CURL_HTTP_VERSION_3: "3",
}


class _Exchange:
    """A libcurl handle and what it received. One that served a plain request can serve the next plain one, for it
    holds nothing that ``prepare`` does not set anew."""

    __slots__ = ("_chunks", "_head", "_room", "curl", "truncated")

    def __init__(self, ca_file: str) -> None:
        self._head: list[bytes] = []
        self._chunks: list[bytes] = []
        self._room = 0
        self.truncated = False
        self.curl = curl = pycurl.Curl()
        # An address book of its own. libcurl reads through the whole book after every transfer (hostip.c,
        # Curl_hostcache_prune): one book for all of a worker's targets took three quarters of a core from 800 checks/s.
        book = pycurl.CurlShare()
        book.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)
        curl.setopt(pycurl.SHARE, book)
        for option, value in _BASE_OPTIONS:
            curl.setopt(option, value)
        curl.setopt(pycurl.CAINFO, ca_file)
        curl.setopt(pycurl.HEADERFUNCTION, self._head.append)  # libcurl itself ends at 300 kB of headers
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)

    def _on_body(self, chunk: bytes) -> int | None:
        """Takes what fits, already decompressed. Answering 0 makes libcurl stop and close."""
        self._room -= len(chunk)
        if self._room >= 0:
            self._chunks.append(chunk)
            return None
        self._chunks.append(chunk[: self._room])
        self.truncated = True
        return 0

    def prepare(self, request: HttpRequest, leg: _Leg, route: _Route, *, timeout_s: float) -> None:
        curl = self.curl
        self._room = request.max_body_bytes
        curl.setopt(pycurl.URL, leg.place.url)
        curl.setopt(pycurl.HTTPHEADER, request.lines if leg.at_home else request.open_lines)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, int(timeout_s * 1000)))
        if route.connect_to is not None:
            curl.setopt(pycurl.CONNECT_TO, route.connect_to)
        curl.setopt(pycurl.RESOLVE, [pin.entry(leg.place.port) for pin in route.pins])
        if not request.plain:
            self._prepare_special(request, leg, route)

    def _prepare_special(self, request: HttpRequest, leg: _Leg, route: _Route) -> None:
        curl = self.curl
        if leg.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        else:
            if leg.body is not None or leg.method in _BODY_METHODS:
                curl.setopt(pycurl.POSTFIELDS, leg.body or b"")
            curl.setopt(pycurl.CUSTOMREQUEST, leg.method)
        match request.http_version:
            case "1.1":
                curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            case "2" if leg.place.scheme == "http":
                curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
            case "2":
                curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        if not request.verify_tls:
            curl.setopt(pycurl.SSL_VERIFYPEER, 0)
            curl.setopt(pycurl.SSL_VERIFYHOST, 0)
        if request.ca_certificate is not None:
            curl.setopt(pycurl.CAINFO_BLOB, request.ca_certificate.encode())
        if request.client_certificate is not None and leg.at_home:
            curl.setopt(pycurl.SSLCERTTYPE, "PEM")
            curl.setopt(pycurl.SSLCERT_BLOB, request.client_certificate.encode())
            curl.setopt(pycurl.SSLKEYTYPE, "PEM")
            curl.setopt(pycurl.SSLKEY_BLOB, (request.client_key or request.client_certificate).encode())
        if route.proxy is not None:
            curl.setopt(pycurl.PROXY, route.proxy.url)
            if request.proxy_username is not None:
                curl.setopt(pycurl.PROXYUSERNAME, request.proxy_username)
                curl.setopt(pycurl.PROXYPASSWORD, request.proxy_password or "")

    def only_shake_hands(self) -> None:
        self.curl.setopt(pycurl.CONNECT_ONLY, 1)
        self.curl.setopt(pycurl.SSL_VERIFYPEER, 0)
        self.curl.setopt(pycurl.SSL_VERIFYHOST, 0)

    def clear(self) -> None:
        self._head.clear()
        self._chunks.clear()
        self.truncated = False

    def reply(self, url: str, journey: Journey) -> HttpReply:
        curl = self.curl
        return HttpReply(
            status=curl.getinfo(pycurl.RESPONSE_CODE),
            version=_VERSIONS.get(curl.getinfo(pycurl.INFO_HTTP_VERSION), "unknown"),
            url=url,
            head=self._head.copy(),
            body=b"".join(self._chunks),
            truncated=self.truncated,
            journey=journey,
        )

    @property
    def body_bytes(self) -> int:
        return sum(map(len, self._chunks))

    def phases(self, secure: bool, dns_us: int) -> Phases:
        """They sum to the whole time; what failed counts for the phase it failed in."""
        curl = self.curl
        total = curl.getinfo(pycurl.TOTAL_TIME_T)
        connected = curl.getinfo(pycurl.CONNECT_TIME_T)
        if not connected:
            return Phases(dns_us, total)
        ready, tls = connected, None
        if secure:
            ready = curl.getinfo(pycurl.APPCONNECT_TIME_T)
            if not ready:
                return Phases(dns_us, connected, total - connected)
            tls = ready - connected
        first = curl.getinfo(pycurl.STARTTRANSFER_TIME_T)
        if not first:
            return Phases(dns_us, connected, tls, total - ready)
        return Phases(dns_us, connected, tls, max(0, first - ready), max(0, total - first))

    def chain(self) -> tuple[str, ...]:
        return tuple(
            value.decode("ascii")
            for certificate in self.curl.getinfo_raw(pycurl.INFO_CERTINFO)
            for name, value in certificate
            if name == b"Cert"
        )


def _headers_of(head: Iterable[bytes]) -> list[tuple[str, str]]:
    """The headers of the last reply in ``head``: what came before are interim replies (1xx) and a proxy's answer."""
    headers: list[tuple[str, str]] = []
    for line in head:
        if line.startswith(b"HTTP/"):
            headers = []
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        name, colon, value = text.partition(":")
        if colon:
            headers.append((name.strip(), value.strip()))
    return headers


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _sum(a: Phases, b: Phases) -> Phases:
    if a is NO_PHASES:
        return b
    return Phases(*(y if x is None else x if y is None else x + y for x, y in zip(a, b, strict=True)))


# What libcurl's codes mean

# X509_V_ERR_* of OpenSSL, as SSL_VERIFYRESULT tells them.
_UNTRUSTED: Final = {
    9: ("tls_not_yet_valid", "the certificate is not valid yet"),
    10: ("tls_expired", "the certificate has expired"),
    18: ("tls_self_signed", "the certificate is self-signed"),
    23: ("tls_revoked", "the certificate has been revoked"),
    62: ("tls_hostname", "the certificate is not for {host}"),
    64: ("tls_hostname", "the certificate is not for {host}"),
}
_BAD_REPLY: Final = frozenset(
    (
        pycurl.E_UNSUPPORTED_PROTOCOL,  # HTTP/0.9, which is any garbage
        pycurl.E_FTP_WEIRD_SERVER_REPLY,
        pycurl.E_BAD_CONTENT_ENCODING,
        pycurl.E_HTTP2,
        pycurl.E_RECV_ERROR,  # without a number of the system: a chunk or a header that is none
        92,  # CURLE_HTTP2_STREAM
        95,  # CURLE_HTTP3
        100,  # CURLE_TOO_LARGE
    )
)
_BROKEN: Final = frozenset((pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_SSL_CONNECT_ERROR))
_BREAKING: Final = frozenset((errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH))
_PROXY_FAILED: Final = 97
_UNUSABLE: Final = {
    pycurl.E_SSL_CERTPROBLEM: "the client certificate or its key cannot be used",
    pycurl.E_BAD_FUNCTION_ARGUMENT: "libcurl cannot use what it was given",
    pycurl.E_SSL_CACERT_BADFILE: "the trusted authorities cannot be read",
}
_NO_RESOURCES: Final = frozenset((pycurl.E_FAILED_INIT, pycurl.E_OUT_OF_MEMORY))


def _fault(code: int, words: str, exchange: _Exchange, place: Place, trip: _Trip) -> HttpFailure | OwnFault:
    """libcurl's code as a failure of the target, or of this machine."""
    curl = exchange.curl
    if code in _UNUSABLE:
        return OwnFault(f"{_UNUSABLE[code]}: {words}")
    if code in _NO_RESOURCES:
        return OwnFault(f"libcurl could not begin: {words}")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return trip.failure("timeout", trip.timed_out(_doing(exchange, place)), network=True)
    if code == pycurl.E_SSL_PEER_CERTIFICATE:
        return trip.failure(*_untrusted(curl.getinfo(pycurl.SSL_VERIFYRESULT), words, place))
    if code == _PROXY_FAILED or "CONNECT tunnel" in words:
        return trip.failure("proxy_failed", f"the proxy did not connect us: {words}")
    number = curl.getinfo(pycurl.OS_ERRNO)
    if code == pycurl.E_COULDNT_CONNECT:
        return _unconnected(number, place, trip)
    # Once connected, the number may still be that of another address which was tried before.
    if code in _BROKEN and number in _BREAKING:
        return trip.told(fault_of_errno(number, _where(place, trip)))
    if code == pycurl.E_SSL_CONNECT_ERROR:
        return trip.failure("tls_handshake", f"the TLS handshake failed: {words}")
    if code == pycurl.E_GOT_NOTHING:
        return trip.failure("empty_reply", "the connection was closed without an answer")
    if code == pycurl.E_PARTIAL_FILE:
        return trip.failure("incomplete", f"the connection was closed before the end of the body: {words}")
    if code in _BROKEN and "SSL" in words:
        return trip.failure("tls_broken", f"the TLS connection broke: {words}")
    if code in _BAD_REPLY:
        return trip.failure("bad_reply", f"the answer is not proper HTTP: {words}")
    return trip.failure("network_error", words or f"libcurl error {code}", network=True)


def _unconnected(number: int, place: Place, trip: _Trip) -> HttpFailure | OwnFault:
    """``number`` is that of the last address tried; libcurl tells none when it could not even make a socket."""
    if number:
        return trip.told(fault_of_errno(number, _where(place, trip)))
    try:
        socket.socket().close()
    except OSError as error:
        return trip.told(fault_of_errno(error.errno or 0))
    return trip.failure("unreachable", f"could not connect to {_where(place, trip)}", network=True)


def _untrusted(result: int, words: str, place: Place) -> tuple[str, str]:
    """Code and message for a certificate that was refused; 0 and 1 (unspecified) mean that the name is wrong,
    at which libcurl looks itself."""
    if result in (0, 1):
        result = 62
    code, message = _UNTRUSTED.get(result, ("tls_untrusted", f"the certificate is not trusted: {words}"))
    return code, message.format(host=place.host)


def _doing(exchange: _Exchange, place: Place) -> str:
    """What it was waiting for when the time was up."""
    curl = exchange.curl
    if not curl.getinfo(pycurl.CONNECT_TIME_T):
        return "connecting"
    if place.scheme == "https" and not curl.getinfo(pycurl.APPCONNECT_TIME_T):
        return "in the TLS handshake"
    if not curl.getinfo(pycurl.STARTTRANSFER_TIME_T):
        return "waiting for the first byte"
    return f"reading the answer ({exchange.body_bytes} bytes of the body so far)"


def _where(place: Place, trip: _Trip) -> str:
    address = trip.journey.address or place.host
    return f"{_bracketed(address)}:{place.port}"
