"""Probe ``http``: one request to a web address, judged by its reply. Knows no other kind, no schedule, no verdict."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Annotated, NamedTuple, Self

import msgspec
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from tocsin.lib.expressions import EvaluationError, Kind, Value, fit_text
from tocsin.lib.http import HttpFailure, HttpReply, HttpRequest, HttpVersion
from tocsin.lib.http_request import USER_AGENT, checked_header, checked_method, place_of, plain_text, proxy_of
from tocsin.lib.net import Network
from tocsin.lib.resolve import IpVersion
from tocsin.probes.base import ProbeKind, ProbeSettings, Reading, failure_of
from tocsin.probes.trust import AuthorityPem, ClientKey, Pem

BODY_SHOWN = 4096
"""How many characters of a body are kept as evidence."""
HEADERS_SHOWN = 16 * 1024
"""How many characters of headers are kept as evidence."""


class HttpSettings(ProbeSettings):
    """What to ask, and how."""

    url: Annotated[str, Field(min_length=1, max_length=8192)] = Field(
        description="The address to ask, http:// or https://.", examples=["https://example.com/health"]
    )
    method: Annotated[str, AfterValidator(checked_method)] = Field(
        "GET", max_length=20, description="The HTTP method.", examples=["GET", "HEAD", "POST"]
    )
    headers: dict[str, str] = Field(
        {}, max_length=100, description="Headers to send.", examples=[{"Accept": "application/json"}]
    )
    body: str = Field("", max_length=1_048_576, description="What to send; empty for nothing.")
    username: str = Field("", max_length=1000, description="For basic authentication.")
    password: SecretStr = Field(SecretStr(""), max_length=1000, description="For basic authentication.")
    bearer_token: SecretStr = Field(SecretStr(""), max_length=16_384, description="Sent as “Authorization: Bearer …”.")
    follow_redirects: bool = Field(True, description="Judge the reply at the end of redirects, not the first one.")
    max_redirects: int = Field(10, ge=0, le=50, description="More redirects than this fail.")
    verify_tls: bool = Field(True, description="Fail when the certificate is not one to trust for this host.")
    ca_certificate: AuthorityPem = Field("", description="Trust this instead of the system's authorities. PEM.")
    client_certificate: Pem = Field("", description="What to show a server that asks for a certificate. PEM.")
    client_key: ClientKey = Field(
        "", validate_default=True, description="The client certificate's key. PEM, without passphrase."
    )
    proxy: str = Field(
        "",
        max_length=2000,
        description="Ask through this proxy: http://, https://, socks5:// or socks5h://host:port.",
        examples=["http://proxy.example.com:3128"],
    )
    proxy_username: str = Field("", max_length=1000, description="For a proxy that asks for it.")
    proxy_password: SecretStr = Field(SecretStr(""), max_length=1000, description="For a proxy that asks for it.")
    ip_version: IpVersion = Field("any", description="Connect over IPv4 or IPv6 only.")
    http_version: HttpVersion = Field("auto", description="`auto`: HTTP/2 where the server offers it over TLS.")
    max_body_bytes: int = Field(
        1_048_576, ge=0, le=10_485_760, description="Read no more of the body than this, after decompression."
    )
    user_agent: str = Field(USER_AGENT, max_length=1000, description="What to introduce ourselves as.")

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        place_of(url)
        return url.strip()

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if len(name) + len(value) > 16_384:
                raise ValueError(f"the header {name[:40]} is longer than 16384 characters")
            checked_header(name, value)
        return headers

    @field_validator("user_agent")
    @classmethod
    def _plain_user_agent(cls, text: str) -> str:
        checked_header("User-Agent", text)
        return text

    @field_validator("bearer_token")
    @classmethod
    def _plain_token(cls, token: SecretStr) -> SecretStr:
        checked_header("Authorization", token.get_secret_value())
        return token

    @field_validator("username")
    @classmethod
    def _no_colon(cls, name: str) -> str:
        plain_text(name)
        if ":" in name:
            raise ValueError("it holds a colon, which basic authentication cannot carry")
        return name

    @field_validator("proxy_username")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return plain_text(name)

    @field_validator("proxy")
    @classmethod
    def _plain_proxy(cls, url: str) -> str:
        if url:
            proxy_of(url)
        return url

    @model_validator(mode="after")
    def _one_authentication(self) -> HttpSettings:
        basic = bool(self.username or self.password.get_secret_value())
        bearer = bool(self.bearer_token.get_secret_value())
        header = any(name.lower() == "authorization" for name in self.headers)
        if basic + bearer + header > 1:
            raise ValueError("give one of username and password, bearer_token, or an Authorization header")
        return self

    def diverted(self, before: Self) -> Mapping[str, str]:
        if place_of(self.url).origin != place_of(before.url).origin:
            elsewhere = "url"
        elif self.proxy not in ("", before.proxy):
            elsewhere = "proxy"
        elif before.verify_tls and not self.verify_tls:
            elsewhere = "verify_tls"
        elif self.ca_certificate not in ("", before.ca_certificate):
            elsewhere = "ca_certificate"
        else:
            return {}
        of_proxy = {"proxy_password": "proxy"} if self.proxy not in ("", before.proxy) else {}
        return {"password": elsewhere, "bearer_token": elsewhere} | of_proxy

    @cached_property
    def request(self) -> HttpRequest:
        """What the engine is given, made once."""
        return HttpRequest(
            url=self.url,
            method=self.method,
            headers=tuple(self.headers.items()),
            body=self.body.encode() or None,
            follow_redirects=self.follow_redirects,
            max_redirects=self.max_redirects,
            verify_tls=self.verify_tls,
            ca_certificate=self.ca_certificate or None,
            client_certificate=self.client_certificate or None,
            client_key=self.client_key.get_secret_value() or None,
            username=self.username or None,
            password=self.password.get_secret_value() or None,
            bearer_token=self.bearer_token.get_secret_value() or None,
            proxy=self.proxy or None,
            proxy_username=self.proxy_username or None,
            proxy_password=self.proxy_password.get_secret_value() or None,
            ip_version=self.ip_version,
            http_version=self.http_version,
            max_body_bytes=self.max_body_bytes,
            user_agent=self.user_agent,
        )


async def probe(settings: HttpSettings, timeout_s: float, network: Network) -> Reading:
    try:
        reply = await network.http.fetch(settings.request, timeout_s=timeout_s)
    except HttpFailure as failure:
        journey = failure.journey
        return Reading(
            latency_us=journey.total_us,
            phases=journey.phases,
            failure=failure_of(failure),
            address=journey.address,
            certificates=journey.certificates,
            details=lambda: {"redirects": [redirect._asdict() for redirect in journey.redirects]},
        )
    journey = reply.journey
    return Reading(
        latency_us=journey.total_us,
        phases=journey.phases,
        values=HttpValues(reply),
        address=journey.address,
        certificates=journey.certificates,
        details=lambda: _details(reply),
    )


class HttpValues(Mapping[str, Value]):
    """The CEL variables of one reply. Bodies are decoded, and certificates read, when an assertion asks for them."""

    __slots__ = ("_json", "_text", "reply")

    def __init__(self, reply: HttpReply) -> None:
        self.reply = reply
        self._text: str | None = None
        self._json: tuple[Value] | None = None

    def __getitem__(self, name: str) -> Value:
        return VARIABLES[name].read(self)

    def __iter__(self) -> Iterator[str]:
        return iter(VARIABLES)

    def __len__(self) -> int:
        return len(VARIABLES)

    def headers(self) -> dict[str, Value]:
        """Names in lower case; several of one name joined as RFC 9110 has it."""
        joined: dict[str, str] = {}
        for name, value in self.reply.headers:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        return dict(joined)

    def text(self) -> str:
        if self._text is None:
            self._text = fit_text(body_text(self.reply))
        return self._text

    def json(self) -> Value:
        if self._json is None:
            self._json = (_parsed(self.reply),)
        return self._json[0]

    def expires_in(self) -> timedelta:
        """What is left of the server's own certificate; negative once it has expired."""
        certificates = self.reply.certificates
        if not certificates:
            raise EvaluationError("there is no certificate: the reply did not come over https")
        return timedelta(milliseconds=certificates[0].not_after_ms - time.time_ns() // 1_000_000)


class Variable(NamedTuple):
    kind: Kind
    read: Callable[[HttpValues], Value]


VARIABLES: dict[str, Variable] = {
    "status": Variable(Kind.INT, lambda seen: seen.reply.status),
    "latency_ms": Variable(Kind.NUMBER, lambda seen: seen.reply.total_us / 1000),
    "headers": Variable(Kind.STRING_MAP, HttpValues.headers),
    "body": Variable(Kind.STRING, HttpValues.text),
    "body_bytes": Variable(Kind.INT, lambda seen: len(seen.reply.body)),
    "json": Variable(Kind.ANY, HttpValues.json),
    "ip": Variable(Kind.STRING, lambda seen: seen.reply.address or ""),
    "http_version": Variable(Kind.STRING, lambda seen: seen.reply.version),
    "redirects": Variable(Kind.INT, lambda seen: len(seen.reply.redirects)),
    "url": Variable(Kind.STRING, lambda seen: seen.reply.url),
    "tls.expires_in": Variable(Kind.DURATION, HttpValues.expires_in),
}


_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_KNOWN_CHARSETS = re.compile(
    r"ascii|utf-(8|16|32)(-[bl]e)?|iso8859-\d+|cp125\d|cp932|cp949|shift_jis.*|euc[_-].*|gb2312|gbk|gb18030|big5.*|koi8-."
)


def body_text(reply: HttpReply, limit_bytes: int | None = None) -> str:
    """The body, or its first ``limit_bytes``, as text in the charset it names, UTF-8 where it names none we know.

    Bytes that do not fit the charset are shown as replacement characters.
    """
    found = _CHARSET.search(reply.header("content-type") or "")
    # Python knows codecs that are no charsets of web pages and take forever on long input.
    charset = "utf-8"
    if found is not None:
        try:
            named = codecs.lookup(found.group(1)).name
        except LookupError:
            named = ""
        if _KNOWN_CHARSETS.fullmatch(named):
            charset = named
    return reply.body[:limit_bytes].decode(charset, "replace")


def _parsed(reply: HttpReply) -> Value:
    if reply.truncated:
        raise EvaluationError(f"the body is longer than the {len(reply.body)} bytes that are read (max_body_bytes)")
    if not reply.body.strip():
        raise EvaluationError("the body is not JSON: it is empty")
    try:
        value: Value = msgspec.json.decode(reply.body)
        if b"\\u0000" in reply.body or b"\\ud" in reply.body.lower():
            return _fit(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        detail = str(error).removeprefix("JSON is malformed: ")
        raise EvaluationError(f"the body is not JSON: {detail}") from None
    return value


def _fit(value: Value) -> Value:
    match value:
        case str():
            return fit_text(value)
        case list():
            return [_fit(item) for item in value]
        case dict():
            return {fit_text(key): _fit(item) for key, item in value.items()}
        case _:
            return value


def _details(reply: HttpReply) -> dict[str, object]:
    headers: list[list[str]] = []
    room = HEADERS_SHOWN
    for name, value in reply.headers:
        room -= len(name) + len(value)
        if room < 0:
            break
        headers.append([fit_text(name), fit_text(value)])
    return {
        "status": reply.status,
        "version": reply.version,
        "url": reply.url,
        "headers": headers,
        "body": fit_text(body_text(reply, 4 * BODY_SHOWN)[:BODY_SHOWN]),
        "body_bytes": len(reply.body),
        "truncated": reply.truncated,
        "redirects": [redirect._asdict() for redirect in reply.redirects],
    }


HTTP = ProbeKind(
    kind="http",
    title="HTTP",
    settings=HttpSettings,
    variables={name: variable.kind for name, variable in VARIABLES.items()},
    default_assertions=("status < 400",),
    probe=probe,
    endpoint=lambda settings: settings.url,
)
