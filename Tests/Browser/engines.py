"""Browsers under test. An engine is a class that is opened on the web of the tests and driven by WebDriver."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Iterator

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from harness.waiting import PATIENCE, eventually
from web import Web

# The drivers come from Debian's packages. Selenium must never fetch one.
os.environ["SE_OFFLINE"] = "true"


class Browser:
    """What is the same in every engine."""

    name: str
    driver: WebDriver

    def visit(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """Waits until it is to be seen."""
        return eventually(lambda: next((found for found in self.driver.find_elements(By.CSS_SELECTOR, selector)
                                        if found.is_displayed()), None), selector)

    def texts(self, selector: str) -> list[str]:
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)", selector)

    def run(self, script: str, *arguments: object) -> object:
        """The value of an asynchronous function's body, in the page or frame that the driver is in."""
        outcome = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async (...given) => {{ {script} }})(...[...arguments].slice(0, -1))"
            ".then((value) => done({value}), (error) => done({error: String(error)}))", *arguments)
        assert "error" not in outcome, outcome["error"]
        return outcome.get("value")

    @contextlib.contextmanager
    def inside(self, selector: str = "iframe") -> Iterator[None]:
        """In a frame of the page."""
        self.driver.switch_to.frame(self.find(selector))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def picture(self, name: str) -> None:
        """For people to look at, where REPLYX_SCREENSHOTS says."""
        if place := os.environ.get("REPLYX_SCREENSHOTS"):
            path = pathlib.Path(place, f"{self.name}-{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(path))

    def close(self) -> None:
        self.driver.quit()


class Chromium(Browser):
    name = "chromium"

    def __init__(self, web: Web, profile: pathlib.Path, language: str = "en", dark: bool = False,
                 size: tuple[int, int] = (1000, 760)):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ["--headless=new", f"--proxy-server=http://{web.address}", f"--user-data-dir={profile}",
                         f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--disable-background-networking",
                         "--no-first-run", "--window-size=1200,900", "--disable-dev-shm-usage", "--disable-gpu",
                         # A page by http is first tried by https, which nobody serves here.
                         "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable"]:
            options.add_argument(argument)
        if os.geteuid() == 0:
            # Chromium does not sandbox root, and would not start.
            options.add_argument("--no-sandbox")
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(PATIENCE)
        self.driver.set_script_timeout(PATIENCE)
        # The page's own size, not the window's: headless windows cannot be narrower than 500 pixels.
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": size[0], "height": size[1], "deviceScaleFactor": 2 if size[0] < 500 else 1, "mobile": size[0] < 500})


#: All tests run in each of them.
ENGINES: list[type[Browser]] = [Chromium]
