#!/usr/bin/env python3
"""A site to sign in at, where each account may be signed in once: what the examples are tried against.

    python3 examples/site/site.py [--port 8080] [--accounts examples/bots.csv] [--session-seconds 30]

GET  /            a page with a form to sign in, or the name of who is signed in
POST /login       form fields login and password: 200 and a cookie, 401 when they are wrong, 409 when the account has a
                  session already
POST /logout      ends the session of the cookie
GET  /me          200 {"login": …}, or 401
GET  /collisions  200 {"collisions": …}: how many sign-ins were refused because the account had a session

A session that is not used for a while is over. Port 0 is any free one; the first line printed is the address.
"""

import argparse
import csv
import hmac
import html
import json
import secrets
import threading
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

BODY_LIMIT = 10_000

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Shop</title>
<p role="status">{status}</p>
{form}
"""
SIGN_IN = """<form method="post" action="/login">
<label>Login <input name="login" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button>
</form>"""
SIGN_OUT = """<form method="post" action="/logout"><button>Sign out</button></form>"""


class Sessions:
    """Who is signed in. There is one session for each account at most."""

    def __init__(self, passwords, seconds):
        self._passwords = passwords
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open = {}  # key -> [login, when it was last used]
        self.collisions = 0

    def sign_in(self, login, password):
        """(200, key of the new session), (401, None) or (409, None)."""
        known = self._passwords.get(login, "")
        right = hmac.compare_digest(known.encode(), password.encode()) and login in self._passwords
        with self._lock:
            self._forget_the_idle()
            if not right:
                return 401, None
            if any(each == login for each, _ in self._open.values()):
                self.collisions += 1
                return 409, None
            key = secrets.token_urlsafe()
            self._open[key] = [login, time.monotonic()]
            return 200, key

    def sign_out(self, key):
        with self._lock:
            self._open.pop(key, None)

    def login(self, key):
        """Whose session this is, which keeps it open; None when there is none."""
        with self._lock:
            self._forget_the_idle()
            session = self._open.get(key)
            if session is None:
                return None
            session[1] = time.monotonic()
            return session[0]

    def _forget_the_idle(self):
        oldest = time.monotonic() - self._seconds
        self._open = {key: session for key, session in self._open.items() if session[1] >= oldest}


class Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sessions = None

    def do_GET(self):
        login = self.sessions.login(self._key())
        match self.path:
            case "/":
                self._page(200, login)
            case "/me" if login:
                self._json(200, {"login": login})
            case "/me":
                self._json(401, {"error": "nobody is signed in"})
            case "/collisions":
                self._json(200, {"collisions": self.sessions.collisions})
            case _:
                self._json(404, {"error": "no such page"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if length > BODY_LIMIT:
            self.close_connection = True
            return self._json(413, {"error": "too large"})
        fields = parse_qs(self.rfile.read(length).decode(errors="replace"))
        match self.path:
            case "/login":
                login, password = (fields.get(name, [""])[0] for name in ("login", "password"))
                status, key = self.sessions.sign_in(login, password)
                error = {401: "wrong login or password", 409: f"{login} is already signed in"}.get(status)
                self._page(status, login if key else None, error, key)
            case "/logout":
                self.sessions.sign_out(self._key())
                self._page(200, None, key="")
            case _:
                self._json(404, {"error": "no such page"})

    def _key(self):
        cookie = SimpleCookie(self.headers.get("Cookie", ""))
        return cookie["session"].value if "session" in cookie else None

    def _page(self, code, login, error=None, key=None):
        status = error or (f"signed in as {login}" if login else "nobody is signed in")
        page = PAGE.format(status=html.escape(status), form=SIGN_OUT if login else SIGN_IN)
        self._answer(code, "text/html; charset=utf-8", page, key)

    def _json(self, code, value):
        self._answer(code, "application/json", json.dumps(value))

    def _answer(self, code, content_type, text, key=None):
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if key is not None:
            end = "" if key else "; Max-Age=0"
            self.send_header("Set-Cookie", f"session={key}; Path=/; HttpOnly; SameSite=Lax{end}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many tests start at once.
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--accounts", type=Path, default=Path(__file__).parent.parent / "bots.csv")
    parser.add_argument("--session-seconds", type=float, default=30)
    arguments = parser.parse_args()
    with arguments.accounts.open(newline="") as file:
        passwords = {row["login"]: row["password"] for row in csv.DictReader(file)}
    Site.sessions = Sessions(passwords, arguments.session_seconds)
    server = Server(("127.0.0.1", arguments.port), Site)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
