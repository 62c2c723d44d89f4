"""What axe has to say of a page. Knows no page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

AXE: Final = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: Page) -> list[str]:
    """What axe calls serious or critical, in a line each with the elements it means."""
    page.evaluate(AXE.read_text("utf-8"))
    report: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']} ({violation['impact']}): "
        + "; ".join(f"{node['html'][:160]} {node['failureSummary'][-120:]}" for node in violation["nodes"][:3])
        for violation in report["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
