"""Who may talk to a Ray cluster: the token, where it lies, and which addresses need none.

An open Ray head runs anybody's code, so fltac starts none and talks to none beyond this machine.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

from fltac.errors import InputError, Problem

REACH_SECONDS = 5.0  # for a dashboard to answer
UNSENDABLE = "holds what no header can carry: a token is one line of letters, digits and signs"


def require_token(address: str) -> str | None:
    """The token for a cluster somebody else started, which Ray is then told to send; None on this machine without one.

    Raises InputError for an address beyond this machine where there is no token, and as `token` does.
    """
    key = token()
    if key:
        _tell_ray()
    elif not loopback(address):
        what = (
            "is not on this machine and there is no token for it, and an open cluster runs anybody's code; "
            "set RAY_AUTH_TOKEN_PATH to the file of its token"
        )
        raise InputError(Problem("--address", what, address))
    return key


def make_token() -> None:
    """Sees to a token for a Ray of our own, one a user, in the file where Ray looks for it.

    Raises InputError where RAY_AUTH_MODE forbids one, and as `token` does.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        what = "fltac starts no Ray without a token; unset it, or set it to token"
        raise InputError(Problem("RAY_AUTH_MODE", what, mode), "environment")
    if token() is None:
        try:
            _write_token(_usual_file())
        except OSError as error:
            what = f"cannot hold a token for Ray: {error.strerror}; set HOME to a folder of yours"
            raise InputError(Problem("HOME", what, str(_usual_file())), "environment") from None
    _tell_ray()


def _write_token(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    ours = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(ours, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(secrets.token_hex(32))
    try:
        file.hardlink_to(ours)  # whole or not at all; a token that came between stays
    except FileExistsError:
        pass
    finally:
        ours.unlink()


def token() -> str | None:
    """The token as Ray looks for it: RAY_AUTH_TOKEN, the file of RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    None where there is none, or RAY_AUTH_MODE is another than token. Raises InputError for a named file that is not
    there, holds nothing, or may be read by others.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if key := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        if not _may_be_sent(key):
            raise InputError(Problem("RAY_AUTH_TOKEN", f"{UNSENDABLE}; set it anew"), "environment")
        return key
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    file = Path(named) if named else _usual_file()
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077 and not named:  # Ray wrote it, as open as the user's umask
            file.chmod(0o600)
        elif mode & 0o077:
            what = f"may be read by others (mode {mode:o}); chmod 600 it, and change a token that others have seen"
            raise _wrong_file(what, file)
        key = file.read_text(errors="replace").strip()
    except OSError as error:
        if not named:
            return None
        raise _wrong_file(f"cannot be read: {error.strerror}; name the file of the cluster's token", file) from None
    if not key and named:
        raise _wrong_file("holds no token; name the file of the cluster's token", file)
    if not _may_be_sent(key):
        raise _wrong_file(f"{UNSENDABLE}; name the file of the cluster's token", file)
    return key or None


def require_closed(address: str, dashboard: str) -> None:
    """Raises InputError where a cluster to which our token would go takes anybody."""
    if takes_anybody(dashboard):
        what = (
            "takes anybody: it asks for no token, and Ray's processes there cannot talk to one that has one; start "
            "it with RAY_AUTH_MODE=token, or, on this machine alone, set RAY_AUTH_MODE=disabled here"
        )
        raise InputError(Problem("--address", what, address))


def takes_anybody(dashboard: str) -> bool:
    """Whether the dashboard at a URL, or HOST:PORT, answers a stranger; one that does not answer says nothing."""
    import requests

    url = dashboard if "://" in dashboard else f"http://{dashboard}"

    with requests.Session() as session:
        session.trust_env = False  # no proxy: it is the cluster that is asked
        try:
            return session.get(f"{url.rstrip('/')}/api/version", timeout=REACH_SECONDS).ok
        except requests.RequestException:
            return False


def loopback(address: str) -> bool:
    """Whether an address, HOST:PORT or a URL, is of this machine alone."""
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, "auto": nobody knows what is behind it


def _may_be_sent(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key


def _usual_file() -> Path:
    return Path.home() / ".ray" / "auth_token"


def _wrong_file(what: str, file: Path) -> InputError:
    return InputError(Problem("RAY_AUTH_TOKEN_PATH", what, str(file)), "environment")


def _tell_ray() -> None:
    """Turns its token on for this process and what it starts; for a named address Ray does not do so by itself."""
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:  # it has read the environment before
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")
