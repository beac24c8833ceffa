"""A service for one run, for who has a file of accounts and no service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path

from .errors import BotfarmError

_START, _STOP = 30.0, 5.0
_HINT = "install it (`pip install botfarm`, or from its page), or set BOTFARM_URL to a service that is running"


class Service:
    """`botfarm serve` on a free port of this machine, with the accounts of a file in memory.

    It ends with this process, however that ends. Nobody else knows of it: accounts that others use too need a service
    that others use too.
    """

    def __init__(self, bots: Path) -> None:
        self._log = tempfile.TemporaryFile("w+")
        command = [_program(), "serve", "--bots", str(bots), "--listen", "127.0.0.1:0", "--auth", "none", "--until-eof"]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("BOTFARM_")}
        # Kept in a file for as long as it runs: warnings alone.
        variables.setdefault("RUST_LOG", "warn")
        # Beats a botfarm.toml.
        variables |= {"BOTFARM_URL": "memory:", "BOTFARM_STORE": "memory:"}
        try:
            self._process = subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                # Ctrl-C is for the tests, which still have to give back.
                start_new_session=True,
            )
        except OSError as error:
            raise BotfarmError(f"`botfarm serve` cannot be started: {error}; {_HINT}") from None
        self.url = self._announced()

    def stop(self) -> None:
        """Ends it. Again does nothing."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _announced(self) -> str:
        timer = threading.Timer(_START, self._process.kill)
        timer.start()
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        timer.cancel()
        if line.startswith("listening on http://"):
            return line.split()[-1]
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        raise BotfarmError(f"`botfarm serve` did not start: {self._log.read().strip() or 'it said nothing'}")


def _program() -> str:
    """Beside this Python first: there `pip` puts it."""
    name = "botfarm.exe" if sys.platform == "win32" else "botfarm"
    beside = Path(sysconfig.get_path("scripts"), name)
    found = str(beside) if beside.exists() else shutil.which("botfarm")
    if found is None:
        raise BotfarmError(f"there is no `botfarm` on this machine to serve the accounts of botfarm_bots; {_HINT}")
    return found
