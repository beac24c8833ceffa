"""Services to try things on, and the Python packages to try them with: shared by the scripts beside this one."""

import contextlib
import glob
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BOTFARM = Path(os.environ.get("BOTFARM", TARGET / "debug/botfarm"))
LOGIN, PASSWORD = "admin", "correct horse battery staple"
START_SECONDS, STOP_SECONDS = 60, 20


def installed(*packages):
    """The folder of the programs of these packages, in an environment of their own."""
    folder = TARGET / "python" / re.sub(r"\W+", "-", " ".join(packages))
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        (folder / "done").touch()
    return folder / "bin"


def maven(folder, *goals):
    """The command of Maven, which finds what it needs in Debian's packages, and nowhere else."""
    home = TARGET / "maven"
    home.mkdir(parents=True, exist_ok=True)
    mirror = "<id>debian</id><mirrorOf>*</mirrorOf><url>file:///usr/share/maven-repo</url>"
    local = f"<localRepository>{home}/repository</localRepository>"
    settings = f"<settings>{local}<mirrors><mirror>{mirror}</mirror></mirrors></settings>"
    (home / "settings.xml").write_text(settings)
    options = ["--batch-mode", "--no-transfer-progress", "--settings", home / "settings.xml", "--file", folder]
    return ["mvn", *options, *goals]


@contextlib.contextmanager
def postgres():
    """A PostgreSQL server of our own, on a socket alone. Gives the URL of a database."""
    programs = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    # PostgreSQL does not run as root.
    identity = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="botfarm") as folder:
        os.chmod(folder, 0o755)
        data = Path(folder, "data")
        data.mkdir()
        if identity:
            shutil.chown(folder, user, user)
            shutil.chown(data, user, user)
        initdb = [programs / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **identity)
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        command = [programs / "postgres", "-D", data, *options]
        with open(Path(folder, "log"), "w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **identity)
        try:
            wait_for(lambda: "ready" in Path(data, "postmaster.pid").read_text().split()[-1:], server)
            yield f"postgres://{user}@localhost/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_SECONDS)


def wait_for(condition, process):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if condition():
                return
        time.sleep(0.02)
    sys.exit(f"{process.args[0]} did not start")


@contextlib.contextmanager
def service(*arguments, farm="memory:", auth="none"):
    """A service on a free port. Gives its URL."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BOTFARM_")}
    environment["BOTFARM_STORE"] = farm
    if farm != "memory:":
        key = subprocess.run([BOTFARM, "key", "new"], check=True, capture_output=True, text=True).stdout
        environment["BOTFARM_KEY"] = key.strip()
    if auth == "required":
        environment |= {"BOTFARM_ADMIN_LOGIN": LOGIN, "BOTFARM_ADMIN_PASSWORD": PASSWORD}
    with tempfile.TemporaryFile("w+") as log:
        command = [BOTFARM, "serve", "--listen", "127.0.0.1:0", "--auth", auth, *arguments]
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = server.stdout.readline()
            match = re.fullmatch(r"listening on (http://\S+)\n", line)
            if not match:
                log.seek(0)
                sys.exit(f"the service did not say where it listens, but {line!r}\n{log.read()}")
            yield match[1]
        finally:
            server.send_signal(signal.SIGTERM)
            if server.wait(STOP_SECONDS) != 0:
                sys.exit(f"the service was to stop with 0, but gave {server.returncode}")


def call(url, body=None, token=None):
    """What a service answers in JSON: to a GET, or to a POST of this body."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def log_in(url):
    """An access token of the first admin."""
    return call(f"{url}/api/v1/login", {"login": LOGIN, "password": PASSWORD})["access_token"]
