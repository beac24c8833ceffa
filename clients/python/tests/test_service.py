"""A service for one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SUITE = """
import pathlib, pytest

@pytest.mark.parametrize("number", range(12))
def test_visit(account, botfarm, number):
    pathlib.Path("url").write_text(botfarm.url)
    pathlib.Path(f"url-{number}").write_text(botfarm.url)
"""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
    except urllib.error.URLError:
        return False


@pytest.mark.parametrize("options", [(), ("-n", "4")], ids=["alone", "xdist"])
def test_it_serves_a_file_to_all_workers_and_ends_with_the_run(
    pytester: pytest.Pytester, bots: Path, options: tuple[str, ...]
) -> None:
    pytester.makeini(f"[pytest]\nbotfarm_bots = {bots}")
    # What lies about in the folder has no say.
    pytester.path.joinpath("botfarm.toml").write_text('listen = "0.0.0.0:8000"\nauth = "required"\n')
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(*options)
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines([f"botfarm: {bots}, served to this run alone, as ann@*"])
    urls = {file.read_text() for file in pytester.path.glob("url-*")}
    assert len(urls) == 1
    assert not answers(urls.pop())


def test_it_ends_with_a_run_that_is_killed(pytester: pytest.Pytester, bots: Path) -> None:
    pytester.makepyfile("""
    import os, pathlib, time

    def test_hangs(account, botfarm):
        pathlib.Path("new").write_text(botfarm.url)
        os.rename("new", "url")
        time.sleep(60)
    """)
    variables = os.environ | {"BOTFARM_BOTS": str(bots)}
    run = subprocess.Popen([sys.executable, "-m", "pytest"], cwd=pytester.path, env=variables)
    deadline = time.monotonic() + 30
    file = pytester.path / "url"
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    url = file.read_text()
    assert answers(url)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while answers(url):
        assert time.monotonic() < deadline, "the service outlives the run"
        time.sleep(0.05)
