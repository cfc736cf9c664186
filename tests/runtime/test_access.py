"""Tokens: where they are looked for, who may read them, and which addresses do without."""

import stat

import pytest

from fltac.errors import InputError
from fltac.runtime import access


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A home without a token, and an environment that names none."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(access, "_tell_ray", lambda: None)  # the tests' own Ray has its token
    return tmp_path


def write(file, text="key\n", mode=0o600):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_tokens_are_looked_for_where_ray_does_in_its_order(home, monkeypatch):
    assert access.token() is None
    write(home / ".ray" / "auth_token", "usual\n")
    assert access.token() == "usual"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(write(home / "named", "named\n")))
    assert access.token() == "named"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "said")
    assert access.token() == "said"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert access.token() is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_named_file_that_others_may_read_is_refused(home, monkeypatch, mode):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(write(home / "named", mode=mode)))
    with pytest.raises(InputError, match=f"RAY_AUTH_TOKEN_PATH: may be read by others .mode {mode:o}.; chmod 600"):
        access.token()


def test_a_named_file_that_is_not_there_or_empty_is_refused(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "gone"))
    with pytest.raises(InputError, match="cannot be read: No such file"):
        access.token()
    write(home / "gone", " \n")
    with pytest.raises(InputError, match="holds no token"):
        access.token()


@pytest.mark.parametrize("key", ["gehörig", "two words", "two\nlines", "bell\a"])
def test_what_no_header_can_carry_is_no_token_and_is_not_shown(home, monkeypatch, key):
    write(home / ".ray" / "auth_token", key)
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        with pytest.raises(InputError, match=f"environment: {name}: holds what no header can carry") as refused:
            access.token()
        assert key not in str(refused.value)
        monkeypatch.setenv("RAY_AUTH_TOKEN", key)
    write(home / ".ray" / "auth_token").write_bytes(b"\xff\xfe")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(InputError, match="RAY_AUTH_TOKEN_PATH: holds what no header can carry"):
        access.token()


def test_what_ray_wrote_for_all_to_read_is_closed(home):
    file = write(home / ".ray" / "auth_token", mode=0o644)
    assert access.token() == "key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1:6379", True),
        ("127.8.8.8:1", True),
        ("localhost:6379", True),
        ("[::1]:6379", True),
        ("http://127.0.0.1:8265", True),
        ("ray://localhost:10001", True),
        ("10.0.0.1:6379", False),
        ("0.0.0.0:6379", False),
        ("http://head:8265", False),
        ("http://127.0.0.1@elsewhere:8265", False),
        ("http://localhost.elsewhere:8265", False),
        ("auto", False),
        ("", False),
    ],
)
def test_beyond_this_machine_nothing_goes_without_a_token(home, address, here):
    assert access.loopback(address) is here
    if here:
        assert access.require_token(address) is None
    else:
        with pytest.raises(InputError, match="--address: is not on this machine and there is no token"):
            access.require_token(address)
    write(home / ".ray" / "auth_token")
    assert access.require_token(address) == "key"


def test_a_ray_of_our_own_gets_a_token_that_nobody_else_reads(home):
    access.make_token()
    file = home / ".ray" / "auth_token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_text()
    assert len(first) == 64
    access.make_token()
    assert file.read_text() == first
    assert [one.name for one in file.parent.iterdir()] == ["auth_token"]


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_home_that_can_hold_no_token_is_told(tmp_path, monkeypatch, where):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / where))
    with pytest.raises(InputError, match="environment: HOME: cannot hold a token for Ray: Not a directory"):
        access.make_token()


def test_a_ray_of_our_own_never_starts_without_one(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(InputError, match="environment: RAY_AUTH_MODE: fltac starts no Ray without a token"):
        access.make_token()
