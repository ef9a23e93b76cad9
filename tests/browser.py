"""The system's Chromium, and what axe-core finds in a page. Where there is no browser tests are skipped, in CI they fail."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = [
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_browser() -> str:
    """Find the system's Chromium; without it skip, in CI fail."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return found
    missing = f"no Chromium on this machine (looked for {', '.join(BROWSERS)}): apt-get install chromium"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium without a window."""
    path = find_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(file: Path, width: int) -> Iterator[Page]:
    """Open a page that lies on the disk, and see that it asks for nothing else."""
    with chromium() as browser:
        page, asked = browser.new_page(viewport={"width": width, "height": 900}), []
        page.on("request", lambda request: None if request.url.startswith("data:") else asked.append(request.url))
        page.goto(file.as_uri())
        yield page
    assert asked == [file.as_uri()]


def faults_of(page: Page) -> list[str]:
    """List the faults that axe-core finds, with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    violations = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in violations for node in one["nodes"]]


def assert_readable(file: Path) -> None:
    """See that a page is accessible, needs nothing from the network, and fits a phone."""
    with opened(file, width=390) as page:
        assert faults_of(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
