"""The service whose client this is: the real one, of the repository's build or of the path."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_botfarm import Farm

pytest_plugins = ["pytester"]

BUILT = Path(__file__).parents[3] / "target/debug/botfarm"
BOTFARM = os.environ.get("BOTFARM") or (str(BUILT) if BUILT.exists() else shutil.which("botfarm") or "botfarm")
PROJECT = "5f0c7e0a-0000-4000-8000-000000000001"
ROWS = [("ada", "role=admin"), ("ben", "role=member"), ("cleo", "role=member")]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings, and the command in the path."""
    ci = ("GITHUB_", "GITLAB_", "CI", "BUILDKITE", "JENKINS_", "BOTFARM_")
    for name in [name for name in os.environ if name.startswith(ci)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("USER", "ann")
    monkeypatch.setenv("PATH", f"{Path(BOTFARM).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def bots(tmp_path: Path) -> Path:
    """A file of three accounts."""
    file = tmp_path / "bots.csv"
    rows = [f"{name}@shop.example,s3cret-{name},{PROJECT},stage,{label[5:]}" for name, label in ROWS]
    file.write_text("\n".join(["login,password,project_id,env,label.role", *rows]))
    return file


@dataclass
class Service:
    """A service, behind something that can be cut."""

    farm: Farm
    door: Door

    def user(self, name: str) -> str:
        """The id of an account."""
        return next(user["id"] for user in self.farm.users(login=f"{name}@shop.example"))

    def waiting(self) -> int:
        """How many stand in the queue."""
        with urllib.request.urlopen(f"{self.farm.url}/api/v1/stats", timeout=10) as answer:
            return int(json.load(answer)["waiting"])

    def conditions(self) -> dict[str, str]:
        return {user["login"].partition("@")[0]: user["condition"] for user in self.farm.users()}

    def held(self) -> list[str]:
        return [user["login"].partition("@")[0] for user in self.farm.users(state="leased")]


class Door:
    """Forwards connections to a service; while it is shut, there is nothing at its address."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener: socket.socket | None = None
        self.port = 0
        self._open: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def shut(self) -> None:
        assert self._listener is not None
        # Wakes the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                service = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._open += [client, service]
            threading.Thread(target=_copy, args=[client, service], daemon=True).start()


def _copy(client: socket.socket, service: socket.socket) -> None:
    other = {client: service, service: client}
    with client, service, contextlib.suppress(OSError):
        while True:
            for ready in select.select([client, service], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)


@pytest.fixture
def service(bots: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service of three accounts, which BOTFARM_URL names."""
    command = [BOTFARM, "serve", "--bots", str(bots), "--listen", "127.0.0.1:0", "--until-eof"]
    variables = {"PATH": os.environ["PATH"], "BOTFARM_URL": "memory:", "BOTFARM_STORE": "memory:", "RUST_LOG": "warn"}
    process = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        address = re.fullmatch(r"listening on (http://127.0.0.1:(\d+))\n", process.stdout.readline())
        assert address is not None
        door = Door(int(address[2]))
        monkeypatch.setenv("BOTFARM_URL", f"http://127.0.0.1:{door.port}")
        yield Service(Farm(address[1]), door)
        door.shut()
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
