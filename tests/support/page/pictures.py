"""The web page's pictures in docs/images, taken of the sample record shop without a language model.

python -m tests.support.page.pictures
"""

import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.support.command import ROOT, SAMPLE, Server, citewell
from tests.support.embedded import stop_engine
from tests.support.page.browser import CHROMIUM, MISSING, Browser, Visit

FOLDER = ROOT / "docs" / "images"
DESK = {"width": 1200, "height": 760}
PHONE = {"width": 390, "height": 760}


def main() -> None:
    if not CHROMIUM:
        raise SystemExit(MISSING)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        shop = Path(folder)
        for name in ("chinook.sqlite", "citewell.toml"):
            (shop / name).write_bytes((SAMPLE / name).read_bytes())
        config = shop / "citewell.toml"
        small = config.read_text().replace('kind = "sql"', 'kind = "sql"\ntables = ["Album", "Artist", "Customer"]')
        config.write_text(small.replace('kind = "files"', 'kind = "files"\nevery = "6h"'))
        (shop / "handbook").mkdir()
        for file in (SAMPLE / "handbook").iterdir():
            (shop / "handbook" / file.name).write_bytes(file.read_bytes())
        (shop / "handbook" / "supplier-list.docx").write_text("not a Word file")
        citewell("ingest", config=config)
        with Server(config) as server:
            take(browser, server.url)
        stop_engine(shop / ".citewell" / "qdrant")


def take(browser: Browser, url: str) -> None:
    page = browser.visit(url, viewport=DESK)
    page.ask("Which albums did AC/DC release?")
    keep(page, "ask")
    page.ask("What happens if shellac touches alcohol?")
    page.page.locator(".turn").last.locator("button.cite").click()
    keep(page, "source")
    page.page.click("#panel-close")
    page.open("/#/operate")
    page.page.click("tr[data-source=handbook] button.sync")
    page.page.locator(".jobs li[data-status=done]").wait_for()
    page.page.locator("#operate-quarantine tbody tr").wait_for()
    keep(page, "operate")
    page.close()
    page = browser.visit(url, viewport=PHONE, locale="zh-CN", is_mobile=True, has_touch=True)
    page.ask("员工每年有多少天年假？")
    keep(page, "phone")
    page.close()
    page = browser.visit(url, viewport=DESK, color_scheme="dark")
    page.ask("Who won the football world cup in 2018?")
    page.ask("Who is the sales support agent of customer Luís Gonçalves?")
    page.page.locator("button.cite").last.click()
    keep(page, "dark")
    page.close()


def keep(page: Visit, name: str) -> None:
    """A picture in few colours: a third of the bytes."""
    picture = Image.open(io.BytesIO(page.page.screenshot(animations="disabled", caret="hide")))
    picture.convert("RGB").quantize(64).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
