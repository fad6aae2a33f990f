"""Read the secrets of a PACS from the files that ``site.toml`` names, if only their owner can.

A secret that other users of the machine can read is refused, like ssh refuses such a key.
Values go to the caller alone; no error repeats one.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from fedrad.errors import SettingsError

_MOST = 1 << 16  # bytes of a password or token
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_secret(path: Path) -> str:
    """Return the first line of a secret file.

    Raises:
        SettingsError: It is missing, empty, too long, or others can read it.
    """
    refuse_files(private=(path,))
    with path.open("rb") as file:
        line = file.read(_MOST + 1).split(b"\n")[0].strip()
    if not line or len(line) > _MOST:
        raise SettingsError(str(path), ("its first line must hold the secret",))
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(str(path), ("it is not UTF-8 text",)) from None


def refuse_files(*, private: tuple[Path, ...] = (), public: tuple[Path, ...] = ()) -> None:
    """Refuse files that are missing, and private ones that others can read.

    Raises:
        SettingsError: Names every one of them and the way out.
    """
    found = [line for path in private for line in _problems(path, of_others=_OTHERS)]
    found += [line for path in public for line in _problems(path, of_others=0)]
    if found:
        raise SettingsError("a file that [archive] names", tuple(found))


def client_tls(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return TLS for a client that trusts ``ca`` alone; an absent certificate is ``Path()``.

    Raises:
        SettingsError: A file is missing, open to others, or no certificate or key.
    """
    own = certificate != Path()
    refuse_files(private=(key,) if own else (), public=(ca, certificate) if own else (ca,))
    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if own:
            context.load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, ValueError):
        problem = "not PEM, not a pair, or the key asks for a password"
        raise SettingsError("ca, certificate or key of [archive]", (problem,)) from None
    return context


def _refuse_password() -> str:
    raise ValueError("a key with a password cannot be used without a person")


def _problems(path: Path, *, of_others: int) -> Iterator[str]:
    try:
        status = path.stat()
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if not stat.S_ISREG(status.st_mode):
        yield f"{path} is not a file"
    elif status.st_mode & of_others:
        mode = stat.S_IMODE(status.st_mode)
        yield f"{path} can be used by others (mode {mode:04o}); chmod 600 it"
