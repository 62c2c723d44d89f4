"""The HTTP engine against servers that behave, and servers that do not."""

from __future__ import annotations

import asyncio
import errno
import gzip
import resource
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.nginx import needs_nginx, nginx
from tests.servers import (
    Asked,
    Handler,
    answering,
    closed_port,
    deaf_port,
    hang,
    naming,
    read_request,
    reply,
    resetting,
    serving,
    until,
)
from tocsin.lib.curl import EpollWatch, LoopWatch
from tocsin.lib.faults import OwnFault
from tocsin.lib.guard import AddressGuard
from tocsin.lib.http import HttpEngine, HttpFailure, HttpReply, HttpRequest, HttpVersion
from tocsin.lib.http_request import Place
from tocsin.lib.resolve import Resolver


@pytest.fixture(params=[EpollWatch, LoopWatch], ids=["epoll", "loop"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[HttpEngine]:
    resolver = Resolver()
    engine = HttpEngine(resolver=resolver, guard=AddressGuard(), watch=request.param)
    yield engine
    engine.close()
    await resolver.close()


async def failure_of(engine: HttpEngine, request: HttpRequest) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        await engine.fetch(request)
    return caught.value


async def repeatedly(engine: HttpEngine, request: HttpRequest) -> None:
    for _ in range(3):
        assert (await engine.fetch(request)).status == 200


# Requests and replies


async def test_a_reply_says_what_came_and_how_long_it_took(engine: HttpEngine) -> None:
    answer = reply(b"hello", status=203, headers=[("X-One", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    async with serving(answering(answer)) as server:
        seen = await engine.fetch(HttpRequest(url=server.url))
    assert (seen.status, seen.version, seen.body, seen.truncated) == (203, "1.1", b"hello", False)
    assert seen.headers == [("Content-Length", "5"), ("X-One", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    assert seen.header("x-one") == "1"
    assert (seen.address, seen.url, seen.redirects) == ("127.0.0.1", f"{server.url}/", ())
    assert seen.certificates == ()
    phases = seen.phases
    assert phases.tls_us is None
    assert phases.connect_us
    assert seen.total_us == sum(
        phase for phase in (phases.dns_us, phases.connect_us, phases.first_byte_us, phases.transfer_us) if phase
    )


async def test_every_exchange_is_a_new_connection(engine: HttpEngine) -> None:
    async def keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(reply())

    async with serving(keep_alive) as server:
        for _ in range(3):
            await engine.fetch(HttpRequest(url=server.url))
        assert server.connections == 3
        await until(lambda: server.open == 0)


async def test_a_request_is_sent_as_it_is(engine: HttpEngine) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server:
        await engine.fetch(
            HttpRequest(
                url=f"{server.url}/a path/ü?q=ä#part".replace(" ", "%20"),
                method="POST",
                headers=(("X-Word", "grüße"), ("X-Empty", ""), ("Content-Type", "text/plain")),
                body="ß".encode(),
                user_agent="Someone/1",
            )
        )
        await engine.fetch(HttpRequest(url=server.url))
    sent, plain = asked
    assert (sent.method, sent.target, sent.body) == ("POST", "/a%20path/%C3%BC?q=%C3%A4", "ß".encode())
    assert sent.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "accept-encoding": sent.headers["accept-encoding"],
        "content-length": "2",
        "content-type": "text/plain",
        "user-agent": "Someone/1",
        "x-word": "grüße".encode().decode("latin-1"),
        "x-empty": "",
    }
    # A handle that is used again brings nothing along.
    assert (plain.method, plain.body) == ("GET", b"")
    assert set(plain.headers) == {"host", "accept", "accept-encoding", "user-agent"}
    assert plain.headers["user-agent"].startswith("Tocsin/")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_methods(engine: HttpEngine, method: str) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(b"" if method == "HEAD" else b"x", length=1), asked)) as server:
        seen = await engine.fetch(HttpRequest(url=server.url, method=method))
    assert asked[0].method == method
    assert asked[0].headers.get("content-length") == ("0" if method in ("PUT", "POST", "PATCH") else None)
    assert seen.body == (b"" if method == "HEAD" else b"x")


async def test_credentials(engine: HttpEngine) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server:
        await engine.fetch(HttpRequest(url=server.url, username="Aladdin", password="open sesame"))
        await engine.fetch(HttpRequest(url=server.url, bearer_token="abc"))
    assert [request.headers["authorization"] for request in asked] == [
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Bearer abc",
    ]


def test_secrets_are_not_shown() -> None:
    shown = repr(HttpRequest(url="http://a.example", username="u", password="hidden1", client_key="hidden2"))
    shown += repr(HttpRequest(url="http://a.example", bearer_token="hidden3", proxy_password="hidden4"))
    assert "hidden" not in shown
    assert "aGlkZGVu" not in shown, "nor encoded"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "1\r\nX-B: 2"),
        ("X-A", "1\nX-B: 2"),
        ("X-A", "1\rX-B: 2"),
        ("X-A", "1\0"),
        ("X-A\r\nX-B", "1"),
        ("X-A: 1\r\nX-B", "1"),
        ("X A", "1"),
        ("", "1"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
    ],
)
def test_headers_that_could_smuggle_others_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"header|cannot be given|control characters"):
        HttpRequest(url="http://a.example", headers=((name, value),))


@pytest.mark.parametrize(
    "make",
    [
        lambda: HttpRequest(url="http://a.example", user_agent="a\r\nX: 1"),
        lambda: HttpRequest(url="http://a.example", bearer_token="a\nX: 1"),
        lambda: HttpRequest(url="http://a.example", method="GET / HTTP/1.1\r\nX:"),
    ],
)
def test_injection_through_other_fields_is_refused(make: Callable[[], HttpRequest]) -> None:
    with pytest.raises(ValueError, match=r"control characters|HTTP method"):
        make()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "must start with http"),
        ("gopher://127.0.0.1:70/_GET", "must start with http"),
        ("dict://127.0.0.1/", "must start with http"),
        ("example.com", "must start with http"),
        ("", "must start with http"),
        ("http://", "names no host"),
        ("http://user:secret@a.example/", "username and password"),
        ("http://a.example\r\nX: 1/", "control characters"),
        ("http://a.example/a b", "spaces"),
        ("http://a.example\\@b.example/", "backslashes"),
        ("http://a.example:99999/", "no URL"),
        ("http://a.example:0/", "port 0"),
        ("http://a_b%00.example/", "no valid host"),
        ("http://[::1/", "no URL"),
        ("http://[fe80::1%25eth0]/", "no valid host"),
        ("http://127.1/", "no valid IP address"),
        ("http://2130706433/", "no valid IP address"),
        ("http://0x7f.0.0.1/", "no valid IP address"),
        ("http://0177.0.0.1/", "no valid IP address"),
        (f"http://{'a' * 64}.example/", "no valid host"),
        ("http://a..example/", "no valid host"),
    ],
)
def test_addresses_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        HttpRequest(url=url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("HTTP://Example.COM", Place("http://example.com/", "http", "example.com", 80)),
        ("https://example.com:443/a#b", Place("https://example.com/a", "https", "example.com", 443)),
        ("https://bücher.example/", Place("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", 443)),
        ("http://[::0:1]:8080/?x", Place("http://[::1]:8080/?x", "http", "::1", 8080)),
        ("http://my_host/%41?a=%zz", Place("http://my_host/%41?a=%zz", "http", "my_host", 80)),
    ],
)
def test_addresses_in_their_plain_form(url: str, place: Place) -> None:
    assert HttpRequest(url=url).place == place


async def test_libcurl_itself_speaks_nothing_but_http(engine: HttpEngine, tmp_path: Path) -> None:
    """The second lock, should an address ever pass the first."""
    (tmp_path / "secret").write_text("secret")
    for url in (f"file://{tmp_path}/secret", f"gopher://127.0.0.1:{closed_port()}/_x"):
        request = HttpRequest(url="http://127.0.0.1")
        object.__setattr__(request, "place", Place(url, "http", "127.0.0.1", 80))
        failure = await failure_of(engine, request)
        assert "not supported" in failure.message or "disabled" in failure.message


async def test_proxies_of_the_environment_are_not_asked(engine: HttpEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    async with serving(answering(reply())) as server:
        assert (await engine.fetch(HttpRequest(url=server.url))).status == 200


# Bodies


async def test_a_body_is_read_to_its_limit_and_no_further(engine: HttpEngine) -> None:
    async with serving(answering(reply(b"x" * 1000))) as server:
        exact = await engine.fetch(HttpRequest(url=server.url, max_body_bytes=1000))
        short = await engine.fetch(HttpRequest(url=server.url, max_body_bytes=999))
        none = await engine.fetch(HttpRequest(url=server.url, max_body_bytes=0))
        again = await engine.fetch(HttpRequest(url=server.url))
    assert (len(exact.body), exact.truncated) == (1000, False)
    assert (len(short.body), short.truncated, short.status) == (999, True, 200)
    assert (none.body, none.truncated) == (b"", True)
    assert (len(again.body), again.truncated) == (1000, False)


def endless(head: bytes, chunk: bytes, pause_s: float) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return handle


async def test_an_endless_body_stops_at_the_limit(engine: HttpEngine) -> None:
    async with serving(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0)) as server:
        seen = await engine.fetch(HttpRequest(url=server.url, max_body_bytes=10_000_000))
        assert (len(seen.body), seen.truncated) == (10_000_000, True)
        await until(lambda: server.open == 0)


async def test_an_endless_slow_body_times_out(engine: HttpEngine) -> None:
    async with serving(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.01)) as server:
        failure = await failure_of(engine, HttpRequest(url=server.url, timeout_s=0.3))
        await until(lambda: server.open == 0)
    assert failure.code == "timeout"
    assert failure.message.startswith("timed out after 0.3 s reading the answer (")
    assert failure.network
    assert failure.phases.first_byte_us is not None
    assert failure.phases.transfer_us is not None


def _bomb(encoding: str) -> tuple[str, bytes]:
    zeros = bytes(100_000_000)
    match encoding:
        case "gzip":
            return encoding, gzip.compress(zeros, 9)
        case _:
            return encoding, zlib.compress(zeros, 9)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_bomb_stops_at_the_limit(engine: HttpEngine, encoding: str) -> None:
    name, bomb = _bomb(encoding)
    async with serving(answering(reply(bomb, headers=[("Content-Encoding", name)]))) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seen = await engine.fetch(HttpRequest(url=server.url))
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (len(seen.body), seen.truncated, seen.status) == (1_048_576, True, 200)
    assert grown_kb < 30_000


async def test_compressed_bodies_are_unpacked(engine: HttpEngine) -> None:
    brotli_hello = bytes.fromhex("0b028068656c6c6f03")
    for encoding, packed in (
        ("gzip", gzip.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")),
        ("br", brotli_hello),
    ):
        async with serving(answering(reply(packed, headers=[("Content-Encoding", encoding)]))) as server:
            assert (await engine.fetch(HttpRequest(url=server.url))).body == b"hello"


async def test_interim_replies_are_passed_over(engine: HttpEngine) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with serving(answering(early + reply(headers=[("X-Last", "1")]))) as server:
        seen = await engine.fetch(HttpRequest(url=server.url))
    assert (seen.status, seen.header("x-last"), seen.header("link")) == (200, "1", None)


# Servers that misbehave


@pytest.mark.parametrize(
    ("handler", "code", "message"),
    [
        pytest.param(answering(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad_reply", "not proper HTTP", id="garbage"),
        pytest.param(answering(b"\x15\x03\x01\x00\x02\x02\x46"), "bad_reply", "not proper HTTP", id="a TLS alert"),
        pytest.param(answering(b"HTTP/1.1 banana\r\n\r\n"), "bad_reply", "not proper HTTP", id="no status"),
        pytest.param(answering(b""), "empty_reply", "closed without an answer", id="no answer"),
        pytest.param(
            answering(reply(b"short", length=50)), "incomplete", "before the end of the body", id="short body"
        ),
        pytest.param(
            answering(reply(b"this is no gzip", headers=[("Content-Encoding", "gzip")])),
            "bad_reply",
            "not proper HTTP",
            id="bad encoding",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(400))),
            "bad_reply",
            "not proper HTTP",
            id="endless headers",
        ),
        pytest.param(
            answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "bad_reply",
            "not proper HTTP",
            id="bad chunk",
        ),
        pytest.param(resetting(), "reset", "reset", id="reset at once"),
        pytest.param(
            resetting(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhe"), "reset", "reset", id="reset in body"
        ),
    ],
)
async def test_replies_that_are_none(engine: HttpEngine, handler: Handler, code: str, message: str) -> None:
    async with serving(handler) as server:
        failure = await failure_of(engine, HttpRequest(url=server.url))
    assert (failure.code, message in failure.message) == (code, True), failure.message
    assert failure.journey.address == "127.0.0.1"


async def test_a_closed_port(engine: HttpEngine) -> None:
    port = closed_port()
    failure = await failure_of(engine, HttpRequest(url=f"http://127.0.0.1:{port}"))
    assert (failure.code, failure.message) == ("refused", f"connection refused by 127.0.0.1:{port}")
    assert failure.journey.address == "127.0.0.1"


async def test_a_silent_port(engine: HttpEngine) -> None:
    async with serving(hang) as server:
        failure = await failure_of(engine, HttpRequest(url=server.url, timeout_s=0.2))
        assert (failure.code, failure.message) == ("timeout", "timed out after 0.2 s waiting for the first byte")
        assert failure.phases.first_byte_us is not None
        assert failure.phases.first_byte_us > 150_000
        assert failure.phases.transfer_us is None
        await until(lambda: server.open == 0)


async def test_a_port_that_drops_everything(engine: HttpEngine) -> None:
    async with deaf_port() as port:
        failure = await failure_of(engine, HttpRequest(url=f"http://127.0.0.1:{port}", timeout_s=0.2))
    assert (failure.code, failure.message) == ("timeout", "timed out after 0.2 s connecting")
    assert failure.phases.connect_us is not None
    assert failure.phases.first_byte_us is None


async def test_a_hundred_hanging_targets_delay_no_other(engine: HttpEngine) -> None:
    async with serving(hang) as hanging, serving(answering(reply())) as good:
        waiting = [asyncio.create_task(engine.fetch(HttpRequest(url=hanging.url, timeout_s=60))) for _ in range(100)]
        await until(lambda: hanging.open == 100)
        for _ in range(20):
            assert (await engine.fetch(HttpRequest(url=good.url, timeout_s=5))).status == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: hanging.open == 0)


async def test_a_cancelled_fetch_closes_its_socket_and_leaves_a_clean_handle(engine: HttpEngine) -> None:
    async with serving(hang) as hanging, serving(answering(reply(b"ok"))) as good:
        task = asyncio.create_task(engine.fetch(HttpRequest(url=hanging.url)))
        await until(lambda: hanging.open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: hanging.open == 0)
        seen = await engine.fetch(HttpRequest(url=good.url))
    assert (seen.status, seen.body) == (200, b"ok")


async def test_closing_ends_what_is_under_way(engine: HttpEngine) -> None:
    async with serving(hang) as server:
        task = asyncio.create_task(engine.fetch(HttpRequest(url=server.url)))
        await until(lambda: server.open == 1)
        engine.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open == 0)
        engine.close()


async def test_no_file_descriptors_left_is_our_own_fault(engine: HttpEngine) -> None:
    async with serving(answering(reply())) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            free_fd = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free_fd, hard))
        try:
            with pytest.raises(OwnFault, match="raise its open-file limit"):
                await engine.fetch(HttpRequest(url=server.url))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await engine.fetch(HttpRequest(url=server.url))).status == 200


@pytest.mark.parametrize("refuses", ["want", "forget"])
async def test_a_socket_that_the_system_will_not_watch_costs_one_moment_only(refuses: str) -> None:
    class Refusing(EpollWatch):
        """Refuses once, as the system does when a user watches too many."""

        def _refuse(self, what: str) -> None:
            if refusals and refusals[-1] == what:
                refusals.pop()
                raise OSError(errno.ENOSPC, "no space left to watch")

        def want(self, fd: int, what: int) -> None:
            self._refuse("want")
            super().want(fd, what)

        def forget(self, fd: int) -> None:
            super().forget(fd)
            self._refuse("forget")

    refusals: list[str] = []
    resolver = Resolver()
    engine = HttpEngine(resolver=resolver, guard=AddressGuard(), watch=Refusing)
    async with serving(answering(reply())) as server, serving(hang) as hanging:
        waiting = asyncio.create_task(engine.fetch(HttpRequest(url=hanging.url)))
        await until(lambda: hanging.open == 1)
        refusals.append(refuses)
        with pytest.raises(OwnFault, match="could not watch its connections"):
            await repeatedly(engine, HttpRequest(url=server.url))
        with pytest.raises(OwnFault):
            await waiting
        await until(lambda: hanging.open == 0)
        await repeatedly(engine, HttpRequest(url=server.url))
    engine.close()
    await resolver.close()


async def test_a_storm_leaves_nothing_behind(engine: HttpEngine) -> None:
    async with (
        serving(answering(reply())) as good,
        serving(hang) as silent,
        serving(resetting(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")) as resets,
    ):
        requests = [
            *(HttpRequest(url=good.url, method=method) for method in ("GET", "POST")),
            *(HttpRequest(url=silent.url, timeout_s=timeout_s) for timeout_s in (0.001, 0.02, 0.05, 60)),
            HttpRequest(url=resets.url),
            HttpRequest(url=f"http://localhost:{good.port}"),
            HttpRequest(url=f"https://127.0.0.1:{silent.port}", timeout_s=0.03),
            HttpRequest(url=f"http://127.0.0.1:{closed_port()}"),
        ]
        files = psutil.Process().num_fds()
        for _ in range(3):
            fetches = [asyncio.create_task(engine.fetch(requests[n % len(requests)])) for n in range(200)]
            await asyncio.sleep(0.02)
            for fetch in fetches[::3]:
                fetch.cancel()
            endless = fetches[5 :: len(requests)]
            await asyncio.wait(set(fetches).difference(endless))
            for fetch in fetches:
                fetch.cancel()
            ends = await asyncio.gather(*fetches, return_exceptions=True)
            assert {type(end) for end in ends} == {HttpReply, HttpFailure, asyncio.CancelledError}
            await until(lambda: good.open + silent.open + resets.open == 0)
        await until(lambda: psutil.Process().num_fds() <= files)
        assert (await engine.fetch(requests[0])).status == 200


# Redirects


def redirecting(location: str, status: int = 302) -> Callable[[Asked], bytes]:
    """``/`` redirects to ``location``; every other path answers."""

    def answer(request: Asked) -> bytes:
        if request.target == "/":
            return reply(b"over there", status=status, headers=[("Location", location)])
        return reply(request.target.encode())

    return answer


async def test_redirects_are_followed(engine: HttpEngine) -> None:
    async with serving(answering(redirecting("next page?a=ü"))) as server:
        seen = await engine.fetch(HttpRequest(url=server.url))
        stay = await engine.fetch(HttpRequest(url=server.url, follow_redirects=False))
    assert (seen.status, seen.body, seen.url) == (200, b"/next%20page?a=%C3%BC", f"{server.url}/next%20page?a=%C3%BC")
    assert seen.redirects == ((f"{server.url}/", 302, "next page?a=ü"),)
    assert (stay.status, stay.body, stay.redirects) == (302, b"over there", ())


async def test_a_redirect_without_a_place_is_the_reply(engine: HttpEngine) -> None:
    async with serving(answering(reply(b"?", status=302))) as server:
        assert (await engine.fetch(HttpRequest(url=server.url))).status == 302


async def test_a_redirect_loop_ends_at_the_limit(engine: HttpEngine) -> None:
    asked: list[Asked] = []
    async with serving(answering(redirecting("/"), asked)) as server:
        failure = await failure_of(engine, HttpRequest(url=server.url, max_redirects=3))
    assert (failure.code, len(asked)) == ("too_many_redirects", 4)
    assert failure.message == "more than 3 redirects; the last leads to /"
    assert len(failure.journey.redirects) == 4
    assert not failure.network


@pytest.mark.parametrize(
    ("location", "code", "message"),
    [
        ("http://169.254.169.254/latest/meta-data/", "blocked_address", r"169\.254\.169\.254 must not be contacted"),
        ("http://[::ffff:169.254.169.254]/", "blocked_address", "must not be contacted"),
        ("http://0.0.0.0/", "blocked_address", "must not be contacted"),
        ("file:///etc/passwd", "bad_redirect", "must start with http"),
        ("gopher://127.0.0.1/", "bad_redirect", "must start with http"),
        ("http://user:pass@127.0.0.1/", "bad_redirect", "must not hold a user name"),
        ("http://2130706433/", "bad_redirect", "no valid IP address"),
    ],
)
async def test_redirects_that_must_not_be_followed(engine: HttpEngine, location: str, code: str, message: str) -> None:
    async with serving(answering(redirecting(location))) as server:
        with pytest.raises(HttpFailure, match=message) as caught:
            await engine.fetch(HttpRequest(url=server.url))
    assert caught.value.code == code
    assert caught.value.journey.redirects[0].location == location


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
async def test_methods_after_a_redirect(engine: HttpEngine, status: int, method: str, then: str) -> None:
    asked: list[Asked] = []
    async with serving(answering(redirecting("/next", status), asked)) as server:
        body = None if method == "HEAD" else b"data"
        with_type = (("Content-Type", "text/plain"),)
        await engine.fetch(HttpRequest(url=server.url, method=method, body=body, headers=with_type))
    assert [request.method for request in asked] == [method, then]
    assert asked[1].body == (b"data" if then == method and body else b"")


async def test_credentials_stay_at_home(engine: HttpEngine) -> None:
    at_home: list[Asked] = []
    elsewhere: list[Asked] = []
    async with serving(answering(reply(), elsewhere)) as other:
        answer = redirecting(f"{other.url}/there")

        def wander(request: Asked) -> bytes:
            return redirecting("/second")(request) if request.target == "/" else answer(Asked("GET", "/", {}, b""))

        async with serving(answering(wander, at_home)) as server:
            secret = (("Cookie", "session=1"), ("X-Api-Key", "k"), ("Host", "named.example"))
            await engine.fetch(HttpRequest(url=server.url, headers=secret, username="u", password="p"))
    assert [request.target for request in at_home] == ["/", "/second"]
    assert all("authorization" in request.headers and "cookie" in request.headers for request in at_home)
    assert {"authorization", "cookie"}.isdisjoint(elsewhere[0].headers)
    assert elsewhere[0].headers["host"] == f"127.0.0.1:{other.port}"


# Names and addresses


@pytest.fixture
async def names() -> AsyncIterator[Callable[[str], HttpEngine]]:
    engines: list[tuple[HttpEngine, Resolver]] = []

    def made(server: str) -> HttpEngine:
        resolver = Resolver(servers=[server])
        engine = HttpEngine(resolver=resolver, guard=AddressGuard())
        engines.append((engine, resolver))
        return engine

    yield made
    for engine, resolver in engines:
        engine.close()
        await resolver.close()


async def test_names_are_looked_up_and_the_time_is_told(names: Callable[[str], HttpEngine]) -> None:
    asked: list[Asked] = []
    async with naming({("shop.test", "A"): ["127.0.0.1"]}) as dns, serving(answering(reply(), asked)) as server:
        seen = await names(dns.address).fetch(HttpRequest(url=f"http://shop.test:{server.port}/x"))
    assert (seen.status, seen.address) == (200, "127.0.0.1")
    assert seen.phases.dns_us
    assert asked[0].headers["host"] == f"shop.test:{server.port}"


async def test_names_that_lead_nowhere(names: Callable[[str], HttpEngine]) -> None:
    records = {("v4.test", "A"): ["127.0.0.1"], ("evil.test", "A"): ["169.254.169.254"]}
    async with naming(records, silent=["silent.test"], broken=["broken.test"]) as dns:
        engine = names(dns.address)
        failure = await failure_of(engine, HttpRequest(url="http://none.test/"))
        assert (failure.code, failure.message) == ("name_not_found", "the name none.test does not exist")
        assert not failure.network
        failure = await failure_of(engine, HttpRequest(url="http://v4.test/", ip_version="6"))
        assert (failure.code, failure.message) == ("no_address", "v4.test has no IPv6 address")
        failure = await failure_of(engine, HttpRequest(url="http://broken.test/"))
        assert (failure.code, failure.network) == ("dns_failed", True)
        failure = await failure_of(engine, HttpRequest(url="http://silent.test/", timeout_s=0.2))
        assert (failure.code, failure.message) == ("timeout", "timed out after 0.2 s looking up silent.test")
        assert failure.network
        assert failure.phases.dns_us is not None
        assert failure.phases.dns_us > 150_000
        failure = await failure_of(engine, HttpRequest(url="http://evil.test/"))
        assert failure.code == "blocked_address"
        assert failure.message.startswith("evil.test leads to a blocked address: 169.254.169.254 ")


async def test_a_blocked_address_is_left_out_of_several(names: Callable[[str], HttpEngine]) -> None:
    records = {("mixed.test", "A"): ["169.254.169.254", "127.0.0.1"]}
    async with naming(records) as dns, serving(answering(reply())) as server:
        seen = await names(dns.address).fetch(HttpRequest(url=f"http://mixed.test:{server.port}/"))
    assert seen.address == "127.0.0.1"


async def test_the_next_address_is_tried_when_one_refuses(names: Callable[[str], HttpEngine]) -> None:
    records = {("both.test", "A"): ["127.0.0.2", "127.0.0.3", "127.0.0.1"], ("both.test", "AAAA"): ["::1"]}
    async with naming(records) as dns, serving(answering(reply())) as server:
        engine = names(dns.address)
        seen = await engine.fetch(HttpRequest(url=f"http://both.test:{server.port}/"))
        assert seen.address == "127.0.0.1"
        failure = await failure_of(engine, HttpRequest(url=f"http://both.test:{closed_port()}/"))
        assert failure.code == "refused"
        failure = await failure_of(engine, HttpRequest(url=f"http://both.test:{server.port}/", ip_version="6"))
        assert failure.code == "refused"


async def test_ipv6_only(engine: HttpEngine) -> None:
    async with serving(answering(reply()), host="::1") as server:
        assert (await engine.fetch(HttpRequest(url=server.url))).address == "::1"
        by_name = f"http://localhost:{server.port}"
        assert (await engine.fetch(HttpRequest(url=by_name))).address == "::1"
        assert (await engine.fetch(HttpRequest(url=by_name, ip_version="6"))).address == "::1"
        assert (await failure_of(engine, HttpRequest(url=by_name, ip_version="4"))).code == "refused"
        failure = await failure_of(engine, HttpRequest(url=server.url, ip_version="4"))
        assert (failure.code, failure.message) == ("no_address", "::1 has no IPv4 address")


async def test_metadata_addresses_are_never_contacted(engine: HttpEngine) -> None:
    failure = await failure_of(engine, HttpRequest(url="http://169.254.169.254/latest/meta-data/"))
    assert failure.code == "blocked_address"
    assert "TOCSIN_ALLOWED_NETWORKS" in failure.message


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context_of(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


def pem_of(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


async def test_a_trusted_certificate(engine: HttpEngine, authority: trustme.CA) -> None:
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    async with serving(answering(reply()), tls=context_of(leaf)) as server:
        seen = await engine.fetch(HttpRequest(url=server.url, ca_certificate=pem_of(authority)))
        by_address = f"https://127.0.0.1:{server.port}"
        assert (await engine.fetch(HttpRequest(url=by_address, ca_certificate=pem_of(authority)))).status == 200
    assert seen.status == 200
    assert seen.phases.tls_us
    certificate = seen.certificates[0]
    assert certificate.names == ("localhost", "127.0.0.1")
    assert len(certificate.fingerprint) == 64
    assert certificate.not_before_ms < certificate.not_after_ms
    assert certificate.issuer == seen.certificates[0].issuer != certificate.subject


def self_signed() -> ssl.SSLContext:
    """A certificate that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(pem).tempfile() as path:
        context.load_cert_chain(path)
    return context


def _past(authority: trustme.CA) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return authority.issue_cert("localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=2))


def _future(authority: trustme.CA) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return authority.issue_cert("localhost", not_before=now + timedelta(days=2), not_after=now + timedelta(days=9))


@pytest.mark.parametrize(
    ("context", "trusted", "code", "message"),
    [
        pytest.param(lambda ca: context_of(_past(ca)), True, "tls_expired", "has expired", id="expired"),
        pytest.param(lambda ca: context_of(_future(ca)), True, "tls_not_yet_valid", "not valid yet", id="not yet"),
        pytest.param(
            lambda ca: context_of(ca.issue_cert("other.example")),
            True,
            "tls_hostname",
            "the certificate is not for localhost",
            id="wrong host",
        ),
        pytest.param(
            lambda ca: context_of(ca.issue_cert("localhost")),
            False,
            "tls_untrusted",
            "not trusted",
            id="unknown authority",
        ),
        pytest.param(lambda _: self_signed(), False, "tls_self_signed", "self-signed", id="self-signed"),
    ],
)
async def test_certificates_that_are_refused_are_still_shown(
    engine: HttpEngine,
    authority: trustme.CA,
    context: Callable[[trustme.CA], ssl.SSLContext],
    trusted: bool,
    code: str,
    message: str,
) -> None:
    async with serving(answering(reply()), tls=context(authority)) as server:
        ca_certificate = pem_of(authority) if trusted else None
        failure = await failure_of(engine, HttpRequest(url=server.url, ca_certificate=ca_certificate))
        assert (failure.code, message in failure.message) == (code, True), failure.message
        assert not failure.network
        assert failure.journey.certificates
        assert failure.phases.tls_us is not None
        assert failure.phases.first_byte_us is None
        trusting = await engine.fetch(HttpRequest(url=server.url, verify_tls=False))
        assert trusting.status == 200
        assert trusting.certificates == failure.journey.certificates
        # A handle that was told to trust anyone is not used for anyone else.
        assert (await failure_of(engine, HttpRequest(url=server.url))).code.startswith("tls_")


async def test_a_server_that_speaks_no_tls(engine: HttpEngine) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as server, serving(hang) as silent:
        failure = await failure_of(engine, HttpRequest(url=f"https://127.0.0.1:{server.port}", timeout_s=5))
        assert failure.code == "tls_handshake"
        assert failure.message.startswith("the TLS handshake failed: ")
        request = HttpRequest(url=f"https://127.0.0.1:{silent.port}", timeout_s=0.2)
        failure = await failure_of(engine, request)
    assert (failure.code, failure.message) == ("timeout", "timed out after 0.2 s in the TLS handshake")


async def test_client_certificates(engine: HttpEngine, authority: trustme.CA) -> None:
    context = context_of(authority.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    client = authority.issue_cert("client@example.com")
    async with serving(answering(reply()), tls=context) as server:
        known = HttpRequest(
            url=server.url,
            ca_certificate=pem_of(authority),
            client_certificate="".join(blob.bytes().decode() for blob in client.cert_chain_pems),
            client_key=client.private_key_pem.bytes().decode(),
        )
        assert (await engine.fetch(known)).status == 200
        failure = await failure_of(engine, HttpRequest(url=server.url, ca_certificate=pem_of(authority)))
        assert failure.code in ("tls_handshake", "tls_broken", "reset")
        other = authority.issue_cert("someone@example.com")
        wrong = HttpRequest(
            url=server.url,
            ca_certificate=pem_of(authority),
            client_certificate=known.client_certificate,
            client_key=other.private_key_pem.bytes().decode(),
        )
        with pytest.raises(OwnFault, match="private key"):
            await engine.fetch(wrong)


# HTTP/2


@needs_nginx
@pytest.mark.parametrize(
    ("wanted", "got"),
    [("auto", "2"), ("2", "2"), ("1.1", "1.1")],
)
async def test_http_2_over_tls(
    engine: HttpEngine, authority: trustme.CA, tmp_path: Path, wanted: HttpVersion, got: str
) -> None:
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "leaf.pem")
    port = closed_port()
    tls = f"ssl_certificate {tmp_path}/leaf.pem; ssl_certificate_key {tmp_path}/leaf.pem;"
    with nginx(f'listen 127.0.0.1:{port} ssl http2; {tls} return 200 "hello";', tmp_path):
        request = HttpRequest(url=f"https://localhost:{port}", ca_certificate=pem_of(authority), http_version=wanted)
        replies = await asyncio.gather(*(engine.fetch(request) for _ in range(10)))
    assert {(seen.status, seen.version, seen.body) for seen in replies} == {(200, got, b"hello")}
    assert all(seen.phases.tls_us for seen in replies), "each over a connection of its own"


@needs_nginx
async def test_http_2_in_the_clear(engine: HttpEngine, tmp_path: Path) -> None:
    port = closed_port()
    with nginx(f'listen 127.0.0.1:{port} http2; return 200 "hello";', tmp_path):
        seen = await engine.fetch(HttpRequest(url=f"http://127.0.0.1:{port}", http_version="2"))
    assert (seen.status, seen.version) == (200, "2")


# Proxies


def proxying(asked: list[Asked], answer: bytes = b"HTTP/1.1 200 Connected\r\nX-Proxy: 1\r\n\r\n") -> Handler:
    """A forwarding proxy, and one that makes tunnels."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        asked.append(request)
        if request.method != "CONNECT":
            writer.write(reply(b"through the proxy"))
            return
        writer.write(answer)
        if b" 200 " in answer:
            host, _, port = request.target.rpartition(":")
            await tunnel(reader, writer, host.strip("[]"), int(port))

    return handle


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    far_reader, far_writer = await asyncio.open_connection(host, port)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    try:
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)
    finally:
        far_writer.close()
        with suppress(ConnectionError):
            await far_writer.wait_closed()


async def test_an_http_proxy(engine: HttpEngine, authority: trustme.CA) -> None:
    asked: list[Asked] = []
    direct: list[Asked] = []
    tls = context_of(authority.issue_cert("localhost"))
    async with serving(proxying(asked)) as proxy, serving(answering(reply(b"secure"), direct), tls=tls) as server:
        plain = await engine.fetch(
            HttpRequest(url="http://away.test/x", proxy=proxy.url, proxy_username="u", proxy_password="p:w")
        )
        secure = await engine.fetch(
            HttpRequest(url=server.url, proxy=proxy.url, ca_certificate=pem_of(authority), bearer_token="secret")
        )
    assert (plain.body, plain.address) == (b"through the proxy", "127.0.0.1")
    assert (asked[0].method, asked[0].target) == ("GET", "http://away.test/x")
    assert asked[0].headers["proxy-authorization"] == "Basic dTpwOnc="
    assert (secure.body, asked[1].method) == (b"secure", "CONNECT")
    assert secure.header("x-proxy") is None
    assert "authorization" not in asked[1].headers, "the target's credentials are not the proxy's"
    assert "proxy-authorization" not in direct[0].headers


async def test_a_proxy_that_refuses(engine: HttpEngine) -> None:
    asked: list[Asked] = []
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with serving(proxying(asked, answer)) as proxy:
        failure = await failure_of(engine, HttpRequest(url="https://away.test/", proxy=proxy.url))
    assert failure.code == "proxy_failed"
    assert "403" in failure.message
    request = HttpRequest(url="http://away.test/", proxy=f"http://127.0.0.1:{closed_port()}")
    assert (await failure_of(engine, request)).code == "refused"


async def test_a_proxy_is_no_way_around_the_guard(engine: HttpEngine) -> None:
    asked: list[Asked] = []
    async with serving(proxying(asked)) as proxy:
        for url, through in (
            ("http://169.254.169.254/", proxy.url),
            ("http://away.test/", "http://169.254.169.254:3128"),
        ):
            failure = await failure_of(engine, HttpRequest(url=url, proxy=through))
            assert failure.code == "blocked_address"
    assert asked == []


def socks5(asked: list[tuple[int, bytes]]) -> Handler:
    """RFC 1928 without authentication. Notes address type and address of every request."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        _, _, _, kind = await reader.readexactly(4)
        length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        address = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2))
        asked.append((kind, address))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await tunnel(reader, writer, "127.0.0.1", port)

    return handle


async def test_a_socks_proxy(names: Callable[[str], HttpEngine]) -> None:
    asked: list[tuple[int, bytes]] = []
    records = {("shop.test", "A"): ["127.0.0.1"], ("evil.test", "A"): ["169.254.169.254"]}
    async with naming(records) as dns, serving(answering(reply())) as server, serving(socks5(asked)) as proxy:
        engine = names(dns.address)
        url = f"http://shop.test:{server.port}/"
        await engine.fetch(HttpRequest(url=url, proxy=f"socks5://127.0.0.1:{proxy.port}"))
        await engine.fetch(HttpRequest(url=url, proxy=f"socks5h://127.0.0.1:{proxy.port}"))
        assert asked == [(1, bytes([127, 0, 0, 1])), (3, b"shop.test")]
        request = HttpRequest(url="http://evil.test/", proxy=f"socks5://127.0.0.1:{proxy.port}")
        assert (await failure_of(engine, request)).code == "blocked_address"
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("ftp://127.0.0.1", "must start with"),
        ("http://u:p@127.0.0.1:3128", "proxy_username"),
        ("http://127.0.0.1:3128/path", "end after the port"),
        ("http://127.0.0.1:3128\r\nX: 1", "control characters"),
        ("http://", "no host"),
    ],
)
def test_proxies_that_are_refused(proxy: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        HttpRequest(url="http://a.example", proxy=proxy)
