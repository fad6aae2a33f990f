"""A site's home: the folder that holds its settings, its secret and everything it writes.

Only names and the secret live here; what the files hold belongs to the modules that write
them. The one secret, ``keys/split.key``, deals patients to splits and, through derived
keys, names everything that must not be named by an identifier.
"""

from __future__ import annotations

import secrets
import tomllib
from pathlib import Path

from fedrad import durable
from fedrad.errors import DamagedStateError, SettingsError
from fedrad.settings import build
from site_client.settings import FILE, SiteSettings

LEDGER = "ledger.jsonl"
FOLDERS = ("keys", "cache", "state", "logs")
KEY_BYTES = 32
_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600


def make_home(home: Path, settings_toml: str, *, split_key: bytes | None = None) -> None:
    """Make a site's home with its settings and, unless there is one, its secret.

    Calling it again replaces the settings and keeps the secret: patients stay where they are.

    Args:
        home: The folder; made if absent, readable by its owner alone.
        settings_toml: The text of ``site.toml``; checked before anything is written.
        split_key: 32 bytes, for a simulation that must repeat itself; a hospital leaves it
            out and gets random bytes.

    Raises:
        SettingsError: The settings cannot be used, or another secret is already there.
        DamagedStateError: The secret is lost but patients were charged under it.
    """
    try:
        build(SiteSettings, tomllib.loads(settings_toml))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(FILE, (f"not valid TOML: {error}",)) from None
    for folder in (home, *(home / name for name in FOLDERS)):
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
    _keep_key(_key_path(home), split_key)
    durable.write_bytes(home / FILE, settings_toml.encode("utf-8"))


def split_key(home: Path) -> bytes:
    """Return the site's secret, 32 bytes.

    Raises:
        DamagedStateError: The file is missing or has another length.
    """
    try:
        key = _key_path(home).read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) != KEY_BYTES:
        raise DamagedStateError(
            f"{_key_path(home)} must hold {KEY_BYTES} bytes, got {len(key)}; restore it from a "
            "backup: a new key deals every patient anew and ends running studies"
        )
    return key


def _key_path(home: Path) -> Path:
    return home / "keys" / "split.key"


def _keep_key(path: Path, wanted: bytes | None) -> None:
    if path.exists():
        if wanted is not None and path.read_bytes() != wanted:
            raise SettingsError(str(path), ("another key is already there; use a new home",))
        return
    if wanted is None and (path.parent.parent / LEDGER).exists():
        raise DamagedStateError(
            f"{path} is missing but {LEDGER} exists: a new key would deal charged patients anew; "
            "restore it from a backup"
        )
    key = secrets.token_bytes(KEY_BYTES) if wanted is None else wanted
    if len(key) != KEY_BYTES:
        raise SettingsError(str(path), (f"the key must have {KEY_BYTES} bytes, got {len(key)}",))
    durable.write_bytes(path, key)
    path.chmod(_PRIVATE_FILE)
