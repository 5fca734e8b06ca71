"""The reference page: all of it comes from the service, and nothing may leave it."""

import re
import subprocess
from pathlib import Path

import httpx
import pytest


def test_the_reference_page_and_all_it_links_to_come_from_the_service(toy: httpx.Client) -> None:
    page = httpx.get(toy.base_url.join("/docs"))
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 5
    for link in links:
        answer = httpx.get(page.url.join(link))
        assert page.url.join(link).host == toy.base_url.host
        assert (answer.status_code, len(answer.content) > 100) == (200, True), link
    assert "://" not in page.text + httpx.get(toy.base_url.join("/docs/start.js")).text


def test_browsers_are_told_to_load_and_send_nothing_elsewhere(toy: httpx.Client) -> None:
    policy = dict(part.strip().split(" ", 1) for part in toy.get("/docs").headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "http" not in " ".join(policy.values())


@pytest.mark.extra
@pytest.mark.needs("chromium")
def test_a_browser_shows_the_calls_under_that_policy(toy: httpx.Client, tmp_path: Path) -> None:
    flags = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000", "--dump-dom"]
    shown = subprocess.run(
        ["chromium", *flags, str(toy.base_url.join("/docs"))], capture_output=True, text=True, timeout=120
    )
    assert "/v1/things/count" in shown.stdout, shown.stderr
