"""Machines in the web app: added with one line, live, found among thousands, their charts; text that stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, StorageState, WebSocketRoute, expect

from tests.browser.axe import violations
from tests.browser.machines import (
    FACTS,
    MARKUP,
    SMALL,
    Machine,
    Reporting,
    ingest_key,
    marked_layout,
    registered,
    reporting,
)
from tests.browser.targets import new_name
from tests.machines import Load
from tests.running import Tocsin
from tocsin.v1 import collection_pb2 as pb


def _choose(within: Page | Locator, word: str) -> None:
    """One of several words that stand beside each other, of which one is chosen."""
    within.locator("label").filter(has_text=re.compile(f"^\\s*{word}$")).click()


def test_one_line_adds_a_machine(page: Page, installation: Tocsin) -> None:
    """First in this file: no machine is there yet."""
    page.goto("/machines")
    expect(page.get_by_text("No machine sends anything yet")).to_be_visible()
    page.get_by_role("link", name="Add the first machine").click()
    page.get_by_label("What is the machine called?").fill("first")
    place = page.get_by_label("Where it reaches this Tocsin")
    expect(place).to_have_value(f"127.0.0.1:{installation.grpc_port}")
    place.fill("nowhere")
    expect(page.get_by_text("A host and a port")).to_be_visible()
    expect(page.get_by_role("button", name="Make the key and the command")).to_be_disabled()
    place.fill(f"127.0.0.1:{installation.grpc_port}")
    page.get_by_role("button", name="Make the key and the command").click()

    line = page.get_by_label("What to run", exact=True)
    expect(line).to_contain_text(f"tocsin collector --aggregator 127.0.0.1:{installation.grpc_port} --key ")
    key = line.inner_text().rpartition(" ")[2].strip()
    _choose(page, "systemd")
    expect(line).to_contain_text(f"TOCSIN_AGGREGATOR_KEY={key}")
    _choose(page, "Container")
    expect(line).to_contain_text(f"TOCSIN_AGGREGATOR_URL=grpc://127.0.0.1:{installation.grpc_port}")
    expect(page.get_by_role("region", name="Waiting for the machine")).to_be_visible()

    with reporting(installation, key) as machines:
        machines.add(Machine(uid="first", every_ms=1000, layout=SMALL, facts=FACTS))
        expect(page.get_by_text("first is here")).to_be_visible()
        page.get_by_role("link", name="Open it").click()
        expect(page.get_by_role("heading", name="first", level=1)).to_be_visible()


@pytest.fixture(scope="module")
def machines(installation: Tocsin) -> Iterator[Reporting]:
    with reporting(installation, ingest_key(installation, "fleet")) as machines:
        yield machines


def _named(word: str, **fields: object) -> Machine:
    name = new_name(word)
    return Machine(**{"uid": name, "every_ms": 1000, "layout": SMALL, "facts": FACTS, **fields})  # type: ignore[arg-type]


def _open(page: Page, installation: Tocsin, machine: Machine, query: str = "") -> dict[str, object]:
    found = registered(installation, machine.name or machine.uid)
    page.goto(f"/machines/{found['id']}{query}")
    page.get_by_role("heading", name=str(found["name"]), exact=True, level=1).wait_for()
    return found


def test_numbers_arrive_live(page: Page, installation: Tocsin, machines: Reporting) -> None:
    machine = _named("live", lively=False, load=Load(memory=0.25))
    machines.add(machine)
    registered(installation, machine.uid)
    page.goto(f"/machines?q={machine.uid}")
    memory = page.get_by_role("row").filter(has_text=machine.uid).get_by_role("meter", name="Memory")
    expect(memory).to_have_attribute("aria-valuenow", "25")
    page.evaluate("window.stayed = true")
    machine.load.memory = 0.97
    expect(memory).to_have_attribute("aria-valuetext", re.compile("97.%, above the critical mark"))
    _choose(page, "Cards")
    expect(page.get_by_role("meter", name="Memory")).to_have_attribute("aria-valuenow", "97")
    assert "view=cards" in page.url
    assert page.evaluate("window.stayed") is True


def test_filters_live_in_the_address(page: Page, installation: Tocsin, machines: Reporting) -> None:
    tag = new_name("tag")
    made = [_named("found", tags=[tag, "blue"]), _named("found", tags=[tag])]
    for machine in made:
        machines.add(machine)
        registered(installation, machine.uid)
    page.goto("/machines")
    page.get_by_role("searchbox", name="Name, tag or system").fill(tag)
    rows = page.locator("[data-index]")
    expect(rows).to_have_count(2)
    bar = page.get_by_role("search")
    bar.get_by_role("button", name="Tag").click()
    page.get_by_role("menuitem", name=re.compile("^blue")).click()
    expect(rows).to_have_count(1)
    page.reload()
    expect(rows).to_contain_text([made[0].uid])
    page.get_by_role("searchbox").fill("nothing is called this")
    page.get_by_role("button", name=re.compile("^Show all")).click()
    assert page.url.endswith("/machines")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("link", name="Overview")).to_have_attribute("aria-current", "page")
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.get_by_role("heading", name="Machines", level=1)).to_be_visible()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Add a machine")).to_be_visible()


def test_markup_from_a_machine_is_text(page: Page, installation: Tocsin, machines: Reporting) -> None:
    name = f"{new_name('m')} {MARKUP}"
    machine = _named(
        "marked",
        name=name,
        layout=marked_layout(),
        tags=["<b>tag</b>"],
        facts={"os.description": MARKUP},
        load=Load(disk=0.97),
        processes=[pb.Process(pid=7, name=MARKUP, user="<b>user</b>", cpu=0.5, memory_bytes=1_000_000)],
    )
    machines.add(machine, history_s=60)
    found = registered(installation, name)
    for view in ("/machines", "/machines?view=cards"):
        page.goto(view)
        expect(page.get_by_role("link", name=name)).to_be_visible()
    _open(page, installation, machine)
    expect(page.get_by_role("cell", name=MARKUP)).to_be_visible()
    expect(page.locator("[data-chart=filesystems] figcaption")).to_contain_text(MARKUP)
    page.get_by_role("button", name="Filesystems as a table").click()
    expect(page.get_by_role("columnheader", name=MARKUP)).to_be_visible()
    page.goto(f"/machines/{found['id']}/settings")
    expect(page.get_by_role("heading", level=1)).to_contain_text(MARKUP)
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("/")
    page.get_by_role("combobox").fill(name.split()[0])
    expect(page.get_by_role("option").first).to_contain_text(MARKUP)
    assert page.locator("img, b").filter(has_text=re.compile("tag|user")).count() == 0
    assert page.locator("img[src=x]").count() == 0


def test_charts_share_a_window_a_cursor_and_a_zoom(page: Page, installation: Tocsin, machines: Reporting) -> None:
    machine = _named("charted", every_ms=2000)
    machines.add(machine, history_s=3600)
    registered(installation, machine.uid)
    installation.wait_until(lambda: len(machine.kept) < 3, what="for its history to be stored")
    _open(page, installation, machine)
    cpu, memory = page.locator("[data-chart=cpu]"), page.locator("[data-chart=memory]")
    expect(cpu.locator("canvas")).to_be_visible()
    expect(memory.locator("canvas")).to_be_visible()
    _choose(page, "6 h")
    expect(page).to_have_url(re.compile("window=6h"))
    _choose(page, "1 h")
    expect(page).to_have_url(re.compile("window=1h"))
    _choose(cpu, "Per core")
    expect(cpu.locator("figcaption")).to_contain_text("core 3")
    _choose(cpu, "By mode")
    expect(cpu.locator("figcaption")).to_contain_text("user")

    over = cpu.locator(".u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    # The other chart tells what it was at the very moment under the pointer of this one.
    expect(memory.locator("figcaption")).to_contain_text(":")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile("from=.*&to="))
    address = parse_qs(urlsplit(page.url).query)
    assert address["window"] == ["1h"]
    expect(page.get_by_role("button", name="Reset zoom")).to_be_visible()
    cpu.get_by_role("button", name="CPU as a table").click()
    rows = cpu.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("%")
    page.get_by_role("button", name="Reset zoom").click()
    expect(page).to_have_url(re.compile(r"\?window=1h$"))


def test_settings_say_what_is_wrong_and_a_machine_is_removed_by_its_name(
    page: Page, installation: Tocsin, machines: Reporting
) -> None:
    machine = _named("set")
    machines.add(machine)
    found = registered(installation, machine.uid)
    page.goto(f"/machines/{found['id']}/settings")
    cpu = page.get_by_role("group", name="CPU")
    cpu.get_by_label("Degraded").fill("98")
    cpu.get_by_label("Down").fill("90")
    page.get_by_role("button", name="Save").click()
    form = page.get_by_role("form", name="Machine")
    expect(form.locator(".mantine-InputWrapper-error, [role=alert]").first).to_be_visible()
    cpu.get_by_label("Down").fill("")
    cpu.get_by_label("Degraded").fill("70")
    cpu.get_by_label("until").first.fill("60")
    page.get_by_role("switch", name="Disk space").uncheck(force=True)
    renamed = new_name("renamed")
    page.get_by_label("Name", exact=True).fill(renamed)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=renamed, level=1, exact=True)).to_be_visible()
    read = installation.get(f"/v1/machines/{found['id']}")
    assert read["own_bands"] == {"cpu": {"warn": 0.7, "warn_recovery": 0.6}, "forecast": None}

    page.get_by_role("link", name="Settings").last.click()
    expect(page.get_by_role("group", name="CPU").get_by_label("Degraded")).to_have_value(re.compile("^70"))
    machines.silence(machine)
    page.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Remove")).to_be_disabled()
    dialog.get_by_role("textbox").fill(renamed)
    dialog.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Machines", level=1)).to_be_visible()
    installation.request("GET", f"/v1/machines/{found['id']}", expect=404)
    page.goto(f"/machines/{found['id']}")
    expect(page.get_by_text("This machine does not exist, or was removed")).to_be_visible()


def test_machines_with_a_tag_are_judged_alike(page: Page, installation: Tocsin) -> None:
    tag = new_name("databases")
    page.goto("/settings")
    bands = page.get_by_role("region", name="Bands of machines, by tag")
    bands.get_by_role("button", name="Add a tag").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Tag", exact=True).fill(tag)
    cpu = dialog.get_by_role("group", name="CPU")
    expect(cpu.get_by_label("Degraded")).to_have_attribute("placeholder", re.compile("^80"))
    cpu.get_by_label("Degraded").fill("99")
    cpu.get_by_label("Down").fill("90")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator(".mantine-InputWrapper-error, [role=alert]").first).to_be_visible()
    cpu.get_by_label("Down").fill("")
    cpu.get_by_label("Degraded").fill("70")
    cpu.get_by_label("until").first.fill("60")
    dialog.get_by_role("button", name="Save").click()
    line = bands.get_by_role("listitem").filter(has_text=tag)
    expect(line).to_contain_text("CPU degraded from 70 %")

    line.get_by_role("button", name=f"Edit {tag}").click()
    dialog.get_by_role("switch", name="Disk space").uncheck(force=True)
    dialog.get_by_role("button", name="Save").click()
    expect(line).to_contain_text("Disk space is not judged")
    kept = {one["tag"]: one["bands"] for one in installation.items("/v1/machine-bands")}
    assert kept[tag] == {"cpu": {"warn": 0.7, "warn_recovery": 0.6}, "forecast": None}
    line.get_by_role("button", name=f"Remove {tag}").click()
    expect(line).to_have_count(0)


def test_what_is_old_shows_itself(page: Page, installation: Tocsin, machines: Reporting) -> None:
    machine = _named("silent")
    machines.add(machine)
    registered(installation, machine.uid)
    sockets: list[WebSocketRoute] = []

    def first_lives(socket: WebSocketRoute) -> None:
        if sockets:
            socket.close()
            return
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket("**/ws", first_lives)
    page.goto(f"/machines?q={machine.uid}")
    meter = page.get_by_role("row").filter(has_text=machine.uid).get_by_role("meter", name="CPU")
    expect(meter).not_to_have_attribute("data-old", "true")
    machines.silence(machine)
    expect(meter).to_have_attribute("data-old", "true", timeout=60_000)
    overview = page.context.new_page()
    overview.goto("/")
    state = overview.get_by_role("region", name="State of everything")
    expect(state.get_by_role("link").filter(has_text=machine.uid)).to_contain_text("no sample", timeout=60_000)
    overview.close()
    sockets[0].close()
    expect(page.get_by_text("The live connection is broken")).to_be_visible()


def test_ten_thousand_machines_scroll_with_few_of_them_drawn(
    page: Page, installation: Tocsin, machines: Reporting
) -> None:
    machine = _named("pattern")
    machines.add(machine)
    registered(installation, machine.uid)
    patterns: list[dict[str, object]] = []

    def many(route: Route) -> None:
        """What the server answers, made many: ten pages of a thousand."""
        number = int(parse_qs(urlsplit(route.request.url).query).get("cursor", ["0"])[0])
        if not patterns:
            patterns.append(route.fetch().json()["items"][0])
        items = [
            {**patterns[0], "id": 100_000 + one, "name": f"node {one:05}", "verdict": "up"}
            for one in range(number * 1000, number * 1000 + 1000)
        ]
        route.fulfill(json={"items": items, "next": str(number + 1) if number < 9 else None})

    page.route("**/v1/machines?*", many)
    # The live connection knows nothing of the ten thousand, and would take them away again.
    page.route_web_socket("**/ws", lambda socket: None)
    drawn = page.locator("[data-index]")
    for view in ("table", "cards"):
        page.goto(f"/machines?sort=name&view={view}")
        expect(page.get_by_role("heading", name="Machines", level=1)).to_contain_text("10,000")
        expect(page.get_by_role("link", name="node 00000")).to_be_visible()
        assert drawn.count() < 80
        for _ in range(60):
            page.mouse.move(640, 500)
            page.mouse.wheel(0, 20_000)
        expect(page.get_by_role("link", name="node 09999")).to_be_visible()
        assert drawn.count() < 80
        page.get_by_role("searchbox").fill("node 04242")
        expect(drawn).to_have_count(1)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_serious_for_those_who_cannot_see(
    browser: Browser,
    installation: Tocsin,
    signed_in: StorageState,
    machines: Reporting,
    scheme: Literal["light", "dark"],
    width: int,
) -> None:
    machine = _named("read", load=Load(memory=0.9, disk=0.95), tags=["prod"])
    machines.add(machine, history_s=600)
    found = registered(installation, machine.uid)
    context = browser.new_context(
        base_url=installation.address,
        storage_state=signed_in,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    faults: list[str] = []
    for path, there in {
        "/machines": "[data-index]",
        "/machines?view=cards": "[data-index]",
        "/machines/new": "form",
        f"/machines/{found['id']}": "[data-chart=cpu] canvas",
        f"/machines/{found['id']}/settings": "form",
    }.items():
        page.goto(path)
        page.locator(there).first.wait_for()
        faults += [f"{path}: {violation}" for violation in violations(page)]
    context.close()
    assert not faults, "\n".join(faults)
