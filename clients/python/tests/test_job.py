"""Whom others see."""

from __future__ import annotations

import socket

import pytest

from pytest_botfarm import job
from pytest_botfarm.clock import seconds

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_WORKFLOW": "End to end",
    "GITHUB_RUN_NUMBER": "42",
    "GITHUB_RUN_ID": "9001",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_JOB": "e2e",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_PATH": "acme/shop",
    "CI_JOB_NAME": "e2e 1/4",
    "CI_JOB_ID": "77",
    "CI_JOB_URL": "https://gitlab.example.com/acme/shop/-/jobs/77",
}
BUILDKITE = {
    "BUILDKITE": "true",
    "BUILDKITE_PIPELINE_SLUG": "shop",
    "BUILDKITE_BUILD_NUMBER": "7",
    "BUILDKITE_LABEL": ":cypress: e2e",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/shop/builds/7",
    "BUILDKITE_JOB_ID": "0190",
}
JENKINS = {"JENKINS_URL": "x", "JOB_NAME": "shop", "BUILD_NUMBER": "12", "BUILD_URL": "https://ci.example/job/12/"}
HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("variables", "name", "url"),
    [
        (
            GITHUB,
            "GitHub acme/shop End to end #42 e2e",
            "https://github.example.com/acme/shop/actions/runs/9001/attempts/2",
        ),
        (GITLAB, "GitLab acme/shop e2e 1/4 #77", "https://gitlab.example.com/acme/shop/-/jobs/77"),
        (BUILDKITE, "Buildkite shop #7 :cypress: e2e", "https://buildkite.com/acme/shop/builds/7#0190"),
        (JENKINS, "Jenkins shop #12", "https://ci.example/job/12/"),
        (JENKINS | {"BUILD_URL": "ftp://x"}, "Jenkins shop #12", None),
        ({"USER": "ann"}, f"ann@{HOST}", None),
        ({"CI": "true"}, f"somebody@{HOST}", None),
    ],
)
def test_a_job_is_named_with_its_page(variables: dict[str, str], name: str, url: str | None) -> None:
    assert job.found(variables) == (name, url)


@pytest.mark.parametrize(
    ("variables", "run"),
    [
        (GITHUB, "GitHub acme/shop 9001/2"),
        (GITHUB | {"GITHUB_JOB": "smoke"}, "GitHub acme/shop 9001/2"),
        (GITLAB | {"CI_PIPELINE_ID": "5"}, "GitLab acme/shop 5"),
        (GITLAB, None),
        (BUILDKITE, "Buildkite shop 7"),
        (JENKINS, "Jenkins shop 12"),
        (JENKINS | {"BOTFARM_RUN": "nightly"}, "nightly"),
        (JENKINS | {"JOB_NAME": ""}, None),
        ({"PYTEST_XDIST_TESTRUNUID": "0190"}, "pytest 0190"),
        ({"USER": "ann"}, None),
    ],
)
def test_jobs_of_one_run_share_its_name(variables: dict[str, str], run: str | None) -> None:
    assert job.run(variables) == run


def test_a_test_is_named_before_its_job() -> None:
    assert job.holder("tests/test_cart.py::test_pays", JENKINS) == "tests/test_cart.py::test_pays, Jenkins shop #12"
    assert job.holder(None, JENKINS) == "Jenkins shop #12"
    assert job.holder("a\nb", JENKINS | {"BOTFARM_HOLDER": "nightly"}) == "nightly"


def test_what_is_too_long_keeps_the_end_of_the_test() -> None:
    held = job.holder(f"tests/{'x' * 300}::test_pays\n", JENKINS)
    assert len(held) <= 200 and held.endswith("x::test_pays, Jenkins shop #12")


def test_durations_are_read_as_the_command_reads_them() -> None:
    assert [seconds(text) for text in ("90s", "5m", "1h 30m", "500ms")] == [90, 300, 5400, 0.5]
    for text in ("5", "", "5 parsecs", "m"):
        with pytest.raises(ValueError, match="is no duration"):
            seconds(text)
