"""What is documented is what there is."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.servers import Asked, answering, reply, serving
from tocsin.catalog.rules import RuleFields
from tocsin.channels import CHANNELS
from tocsin.channels.base import Carrier, Refused
from tocsin.core.alerting import CHOOSABLE, Message
from tocsin.store.notifications import STATUSES

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("kind", CHANNELS)
def test_every_field_of_a_channel_is_documented(kind: str) -> None:
    page = (ROOT / f"docs/channels/{kind}.md").read_text()
    missing = [name for name in CHANNELS[kind].settings.model_fields if f"`{name}`" not in page]
    assert not missing


def test_rules_events_statuses_and_channels_are_documented() -> None:
    page = (ROOT / "docs/alerting.md").read_text()
    names = [*RuleFields.model_fields, *CHOOSABLE, *STATUSES]
    assert not [name for name in names if f"`{name}`" not in page]
    assert not [kind for kind in CHANNELS if f"channels/{kind}.md" not in page]


async def test_the_channel_in_contributing_works(
    message: Message, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    found = re.search(r"`src/tocsin/channels/ntfy\.py`:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    module = ModuleType("ntfy")
    monkeypatch.setitem(sys.modules, "ntfy", module)
    exec(compile(found[1], "CONTRIBUTING.md", "exec", dont_inherit=True), module.__dict__)
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server:
        settings = module.NTFY.settings.model_validate({"url": f"{server.url}/topic", "token": "tk_1"})
        assert await module.NTFY.deliver(settings, message, carrier) == "answered 200"
    assert asked[0].body.decode() == f"{message.title}\n{message.text}"
    assert asked[0].headers["authorization"] == "Bearer tk_1"
    async with serving(answering(reply(status=403))) as server:
        settings = module.NTFY.settings.model_validate({"url": server.url})
        with pytest.raises(Refused, match="answered 403"):
            await module.NTFY.deliver(settings, message, carrier)
