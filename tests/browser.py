"""Chromium, headless, driven by Selenium, with what the page's tests, pictures and measurements need of it."""

import base64
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.conftest import wait_until

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "no Chromium with its driver: apt-get install chromium chromium-driver"
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--lang=en-US", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """A browser with an empty profile. `elements` and the like take CSS selectors."""

    def __init__(self, *, width: int = 1280, height: int = 900) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="citewell-browser-", ignore_cleanup_errors=True)
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in (*_OPTIONS, f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exc: object) -> None:
        self.driver.quit()
        self._profile.cleanup()

    def open(self, url: str) -> None:
        """Open a page of ours and wait until it can be used."""
        self.driver.get("about:blank")  # else another #… of the same page is not loaded anew
        self.driver.get(url)
        wait_until(lambda: self.js("return document.documentElement.dataset.ready"), what="the page's start")

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def cdp(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def elements(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def element(self, selector: str) -> WebElement:
        found: WebElement = wait_until(
            lambda: next((each for each in self.elements(selector) if each.is_displayed()), None), what=selector
        )
        return found

    def click(self, selector: str) -> None:
        element = self.element(selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def text(self, selector: str) -> str:
        return self.element(selector).text

    def type(self, selector: str, text: str) -> None:
        self.element(selector).send_keys(text)

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    @property
    def focused(self) -> str:
        """The id of what has the focus."""
        found: str = self.js("return document.activeElement.id")
        return found

    def ask(self, question: str) -> str:
        """Ask, wait for the end, and give the last turn's state."""
        before = len(self.elements(".turn"))
        self.js("document.getElementById('question').value = arguments[0]", question)
        self.click("#send")
        return self.ended(before + 1)

    def ended(self, turns: int) -> str:
        """Wait until there are so many turns and the last one has ended; its state."""

        def state() -> str:
            found = self.js("return [...document.querySelectorAll('.turn')].map(e => e.dataset.state)")
            ended = len(found) == turns and found[-1] not in ("searching", "answering")
            return found[-1] if ended and self.js("return document.getElementById('stop').hidden") else ""

        ended: str = wait_until(state, timeout_s=60, what="the end of the answer")
        return ended

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def errors(self) -> list[str]:
        """What the browser's console told as wrong since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def scheme(self, name: str) -> None:
        """What the system prefers: dark or light."""
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def phone(self) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)

    def desk(self, width: int = 1280, height: int = 900) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.cdp("Page.captureScreenshot", format="png")["data"]))
