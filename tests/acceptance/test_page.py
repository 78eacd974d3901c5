"""The web page in a real browser: Chromium, headless, driven by Selenium."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, citewell, stop_engine, wait_until

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver: apt-get install chromium chromium-driver"
)
HANDBOOK = "# Stores 😀\n\nThe Edmonton store opens at 11:00. <img src=x onerror=alert(1)> is text.\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "docs").mkdir()
    (folder / "docs" / "stores.md").write_text(HANDBOOK, encoding="utf-8")
    config = folder / "citewell.toml"
    config.write_text('[sources.docs]\nkind = "files"\npaths = ["docs"]\n')
    assert citewell("ingest", config=config).returncode == 0
    with Server(config) as running:
        yield running
    stop_engine(folder / ".citewell" / "qdrant")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--window-size=1000,900",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def ask(browser, server: Server, question: str) -> None:
    from selenium.webdriver.common.by import By

    browser.get(server.url)
    browser.find_element(By.ID, "question").send_keys(question)
    browser.find_element(By.ID, "send").click()
    wait_until(lambda: browser.find_element(By.ID, "usage").text.endswith(" s"), what="the end of the answer")


def test_the_page_answers_and_marks_the_cited_sentence(browser, server: Server, tmp_path: Path):
    from selenium.webdriver.common.by import By

    ask(browser, server, "When does the Edmonton store open?")
    assert "opens at 11:00" in browser.find_element(By.ID, "answer").text
    assert browser.find_element(By.ID, "state").text == "done"
    browser.find_element(By.CSS_SELECTOR, "button.cite").click()
    shown = browser.find_element(By.CSS_SELECTOR, "#sources li.shown")
    assert shown.find_element(By.TAG_NAME, "mark").text == "The Edmonton store opens at 11:00."
    assert "docs/stores.md" in shown.text
    assert browser.save_screenshot(str(tmp_path / "page.png"))


def test_text_from_a_document_never_becomes_markup(browser, server: Server):
    from selenium.webdriver.common.by import By

    ask(browser, server, "What is text on the Stores page?")
    assert not browser.find_elements(By.CSS_SELECTOR, "#answer img, #sources img")
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_a_refusal_is_told_as_one(browser, server: Server):
    from selenium.webdriver.common.by import By

    ask(browser, server, "蒙古的首都是哪里？")
    assert browser.find_element(By.ID, "state").text == "no evidence found"
    assert "没有找到" in browser.find_element(By.ID, "answer").text
