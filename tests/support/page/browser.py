"""Chromium, headless, driven by Playwright, with what the page's tests, pictures and measurements need of it."""

import os
import shutil
from typing import Any

from playwright.sync_api import Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MISSING = "no Chromium: apt-get install chromium, or set CHROMIUM to a browser's path"
_ARGUMENTS = (
    "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
_ENDED = """turns => {
    const found = [...document.querySelectorAll(".turn")];
    return found.length === turns && !["searching", "answering"].includes(found.at(-1).dataset.state)
        && document.getElementById("stop").hidden;
}"""


class Browser:
    """One browser process; each visit has cookies and storage of its own."""

    def __enter__(self) -> "Browser":
        self._playwright = sync_playwright().start()
        sandbox = os.geteuid() != 0  # Chromium has none for root
        self.chromium = self._playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(_ARGUMENTS), chromium_sandbox=sandbox
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self.chromium.close()
        self._playwright.stop()

    def visit(self, url: str, **options: Any) -> "Visit":
        """Open a page of ours. options: of Playwright's new_context."""
        given = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US"} | options
        return Visit(self.chromium.new_context(**given).new_page(), url)


class Visit:
    """A page of ours. errors: what its console told as wrong; requests: every address that it asked for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        self.open()

    def open(self, place: str = "/") -> None:
        """Load the page anew and wait until it can be used."""
        self.page.goto("about:blank")
        self.page.goto(self.url + place)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def close(self) -> None:
        self.page.context.close()

    def ask(self, question: str) -> str:
        """Ask, wait for the end, and give the new turn's state."""
        turns = self.page.locator(".turn").count()
        self.start(question)
        return self.ended(turns + 1)

    def start(self, question: str) -> None:
        self.page.fill("#question", question)
        self.page.press("#question", "Enter")

    def ended(self, turns: int) -> str:
        """Wait until there are so many turns and the last has ended; its state."""
        self.page.wait_for_function(_ENDED, arg=turns, timeout=60_000)
        return self.page.locator(".turn").last.get_attribute("data-state") or ""

    def text(self, selector: str) -> str:
        return self.page.locator(selector).last.inner_text()
