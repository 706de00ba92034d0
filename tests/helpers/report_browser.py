"""Pages in headless Chromium."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        installed = shutil.which("chromium") or shutil.which("chromium-browser")
        path = installed or shutil.which("google-chrome") or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip(
                "Chromium is not installed: apt-get install chromium, or playwright install"
            )
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser):
    """Open a report; the test fails on any console message, error, dialog or external request."""
    contexts, problems = [], []

    def record(kind):
        return lambda event: problems.append(f"{kind}: {getattr(event, 'text', event)}")

    def request(event):
        is_page = event.url.startswith("file:") and event.is_navigation_request()
        if not is_page and not event.url.startswith("data:"):
            problems.append(f"request: {event.url[:200]}")

    def open_page(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", record("console"))
        page.on("pageerror", record("error"))
        page.on("dialog", record("dialog"))
        page.on("request", request)
        page.goto(Path(path).resolve().as_uri())
        wait_until(page, "document.querySelector('#frame').ariaLabel !== 'Frame'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def wait_until(page, condition):
    """Wait for a condition; the policy of the page forbids ``page.wait_for_function``."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"condition is never true: {condition}")
