"""Who holds: the CI job, otherwise whoever sits at the keyboard. The same names as `botfarm run` gives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

_LONGEST = 200


class Job(NamedTuple):
    """What a run is part of."""

    name: str
    url: str | None


def found(variables: Mapping[str, str] = os.environ) -> Job:
    """Looks at the environment."""
    return _ci({name: value for name, value in variables.items() if value}) or Job(_person(variables), None)


def holder(test: str | None, variables: Mapping[str, str] = os.environ) -> str:
    """The name under which others see the account held. BOTFARM_HOLDER is it, if that is set."""
    if chosen := variables.get("BOTFARM_HOLDER"):
        return _flat(chosen)[:_LONGEST]
    job = _flat(found(variables).name)[: _LONGEST // 2]
    if not test:
        return job
    # The end of a test's name tells more than its start.
    return f"{_flat(test)[-(_LONGEST - len(job) - 2) :].strip()}, {job}"


def run(variables: Mapping[str, str] = os.environ) -> str | None:
    """What the lease is a part of: BOTFARM_RUN, else the run of the CI service, else that of pytest-xdist."""
    if chosen := variables.get("BOTFARM_RUN"):
        return _flat(chosen)[:_LONGEST]
    var = {name: value for name, value in variables.items() if value}
    runs = (
        ("GITHUB_ACTIONS", "GitHub {GITHUB_REPOSITORY} {GITHUB_RUN_ID}/{GITHUB_RUN_ATTEMPT}"),
        ("GITLAB_CI", "GitLab {CI_PROJECT_PATH} {CI_PIPELINE_ID}"),
        ("BUILDKITE", "Buildkite {BUILDKITE_PIPELINE_SLUG} {BUILDKITE_BUILD_NUMBER}"),
        ("JENKINS_URL", "Jenkins {JOB_NAME} {BUILD_NUMBER}"),
        ("PYTEST_XDIST_TESTRUNUID", "pytest {PYTEST_XDIST_TESTRUNUID}"),
    )
    for sign, name in runs:
        if sign in var:
            try:
                return _flat(name.format_map({"GITHUB_RUN_ATTEMPT": "1"} | var))[:_LONGEST]
            except KeyError:
                # Half a name would be shared by strangers.
                return None
    return None


def _ci(var: Mapping[str, str]) -> Job | None:
    if "GITHUB_ACTIONS" in var:
        repository = var.get("GITHUB_REPOSITORY", "?")
        number, job = var.get("GITHUB_RUN_NUMBER", "?"), var.get("GITHUB_JOB", "")
        name = f"GitHub {repository} {var.get('GITHUB_WORKFLOW', '?')} #{number} {job}"
        if "GITHUB_RUN_ID" not in var:
            return Job(name.strip(), None)
        run = f"{var['GITHUB_RUN_ID']}/attempts/{var.get('GITHUB_RUN_ATTEMPT', '1')}"
        server = var.get("GITHUB_SERVER_URL", "https://github.com")
        return Job(name.strip(), _page(f"{server}/{repository}/actions/runs/{run}"))
    if "GITLAB_CI" in var:
        name = f"GitLab {var.get('CI_PROJECT_PATH', '?')} {var.get('CI_JOB_NAME', '?')} #{var.get('CI_JOB_ID', '?')}"
        return Job(name, _page(var.get("CI_JOB_URL")))
    if "BUILDKITE" in var:
        number, label = var.get("BUILDKITE_BUILD_NUMBER", "?"), var.get("BUILDKITE_LABEL", "")
        name = f"Buildkite {var.get('BUILDKITE_PIPELINE_SLUG', '?')} #{number} {label}"
        build, step = var.get("BUILDKITE_BUILD_URL"), var.get("BUILDKITE_JOB_ID")
        return Job(name.strip(), _page(f"{build}#{step}" if build and step else build))
    if "JENKINS_URL" in var:
        name = f"Jenkins {var.get('JOB_NAME', '?')} #{var.get('BUILD_NUMBER', '?')}"
        return Job(name, _page(var.get("BUILD_URL")))
    return None


def _person(var: Mapping[str, str]) -> str:
    name = next((var[each] for each in ("USER", "LOGNAME", "USERNAME") if var.get(each)), "somebody")
    return f"{name}@{socket.gethostname()}"


def _page(url: str | None) -> str | None:
    """The address, if the service takes it for one."""
    return url if url and url.startswith(("http://", "https://")) and len(url) <= 2000 else None


def _flat(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()
