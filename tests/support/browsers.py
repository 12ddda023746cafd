"""Pages in Debian's Chromium, with all that they say and ask for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
HEAVY = ("serious", "critical")


@dataclass
class Opened:
    """A page with all that it said and asked for."""

    page: "Page"
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "no chromium on the path; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


def listened(context: "BrowserContext") -> Opened:
    """A new page of which nothing is missed."""
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("dialog", lambda dialog: (found.said.append(dialog.message), dialog.dismiss()))
    found.page.on("request", lambda request: found.asked.append(request.url))
    return found


def faults_of_axe(page: "Page") -> list[tuple[Any, ...]]:
    """What axe-core finds that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert found["passes"]
    return [
        (fault["id"], len(fault["nodes"]), fault["nodes"][0]["html"][:300])
        for fault in found["violations"]
        if fault["impact"] in HEAVY
    ]
