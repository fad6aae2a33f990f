"""A model on its way to use: one folder that a stranger can check with openssl and sha256sum.

``task.toml model.safetensors model.json SHA256SUMS`` and, where a coordinator signed,
``SHA256SUMS.sig`` (ECDSA P-384, SHA-384, DER) and ``coordinator.pub`` (PEM); further files, such
as the model card or other formats, are listed in ``SHA256SUMS`` like these. The key beside a
signature proves nothing by itself: whoever reads compares its fingerprint with one that was
heard. Which model is taken, and other formats, are ``aggregator``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedrad import durable, signatures
from fedrad.documents import read_document
from fedrad.errors import DamagedStateError, EnrolmentError, SettingsError
from fedrad.models.networks import build
from fedrad.parameters import Parameters, digest, load_whole, read_safetensors, write_safetensors
from fedrad.settings import as_table, refuse_problems
from fedrad.settings import build as build_settings
from fedrad.signatures import PrivateKey
from fedrad.task import Task, read_task, task_hash, write_task

if TYPE_CHECKING:
    from torch import nn

SCHEMA = 1
TASK, MODEL, ABOUT = "task.toml", "model.safetensors", "model.json"
SUMS, SIGNATURE, KEY = "SHA256SUMS", "SHA256SUMS.sig", "coordinator.pub"
_UNLISTED = (SUMS, SIGNATURE, KEY)
_MOST_BYTES = 1 << 20  # of model.json


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """``model.json``: which model this is."""

    schema: int = SCHEMA
    study: str
    task_hash: str
    round: int
    model_digest: str  # of all parameters, as ``parameters.digest``
    decision: Literal["promoted", "not promoted"]
    fedrad: str  # version that wrote it

    def __post_init__(self) -> None:
        refuse_problems("", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        if self.schema != SCHEMA:
            yield f"schema must be {SCHEMA}, got {self.schema}; update fedrad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What a folder holds, checked; ``signed_by`` is the key's OpenSSH line, or empty."""

    folder: Path
    task: Task
    about: About
    parameters: Parameters
    signed_by: str

    def network(self) -> nn.Module:
        """Return the task's network with these parameters, in evaluation mode.

        Raises:
            ParametersError: The tensors are not those of the network.
        """
        module = build(self.task, seed=0)
        load_whole(module, self.parameters)
        return module.eval()


def write_released(folder: Path, task: Task, about: About, parameters: Parameters) -> None:
    """Write the three files that every format is made of; ``seal`` comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_task(folder / TASK, task)
    write_safetensors(folder / MODEL, parameters)
    durable.write_json(folder / ABOUT, as_table(about))


def seal(folder: Path, key: PrivateKey | None) -> None:
    """Write the digests of every file of a folder, and sign them if there is a key."""
    for name in (SIGNATURE, KEY):
        (folder / name).unlink(missing_ok=True)
    lines = (f"{durable.file_digest(folder / name)}  {name}\n" for name in _files(folder))
    content = "".join(lines).encode("utf-8")
    durable.write_bytes(folder / SUMS, content)
    if key is not None:
        durable.write_bytes(folder / KEY, signatures.public_pem(key))
        durable.write_bytes(folder / SIGNATURE, signatures.sign_file(key, content))


def verify(folder: Path) -> str:
    """Check that a folder holds what its list says, no more and no less.

    Returns:
        The OpenSSH line of the key that signed the list; empty if nobody did.

    Raises:
        DamagedStateError: A file is missing, differs, or is not listed.
        EnrolmentError: There is a signature and it is not that of the key beside it.
    """
    content = _read(folder / SUMS)
    listed = dict(_parsed(folder / SUMS, content))
    found = set(_files(folder))
    if found != set(listed):
        odd = ", ".join(sorted(found ^ set(listed))[:5])
        raise DamagedStateError(f"{folder} holds other files than {SUMS} lists: {odd}")
    for name, wanted in listed.items():
        if durable.file_digest(folder / name) != wanted:
            raise DamagedStateError(f"{folder / name} differs from {SUMS}; get the folder again")
    return _signer(folder, content)


def read_released(folder: Path) -> Released:
    """Read a model's folder.

    Raises:
        DamagedStateError: A file is missing, differs, or does not belong to the others.
        EnrolmentError: The signature is not that of the key beside it.
        SettingsError: ``task.toml`` cannot be used by this fedrad.
    """
    if not (folder / SUMS).is_file():
        line = f"no {SUMS} in it; name a folder that fedrad-aggregator model wrote"
        raise SettingsError(str(folder), (line,))
    signed_by = verify(folder)
    task, parameters = read_task(folder / TASK), read_safetensors(folder / MODEL)
    about = build_settings(About, read_document(folder / ABOUT, most_bytes=_MOST_BYTES))
    if (task_hash(task), digest(parameters)) != (about.task_hash, about.model_digest):
        raise DamagedStateError(f"{folder}: task and model are not those that {ABOUT} names")
    return Released(
        folder=folder, task=task, about=about, parameters=parameters, signed_by=signed_by
    )


def refuse_other_signer(signed_by: str, fingerprint: str) -> None:
    """Refuse a folder that the owner of a key did not sign.

    Args:
        signed_by: From ``verify``.
        fingerprint: The coordinator's, as people read it out.

    Raises:
        EnrolmentError: Nobody signed, or somebody else.
    """
    if not signed_by:
        raise EnrolmentError("nobody signed this folder; ask the coordinator for a signed one")
    found = signatures.key_digest(signed_by)
    if not signatures.same_spoken(fingerprint, found):
        raise EnrolmentError(f"this folder was signed by another key: {signatures.spoken(found)}")


def _files(folder: Path) -> Iterator[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    yield from sorted(name for name in names if name not in _UNLISTED)


def _parsed(path: Path, content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.decode("utf-8", errors="replace").splitlines():
        digest_, _, name = line.partition("  ")
        parts = Path(name).parts
        if len(digest_) != 2 * hashlib.sha256().digest_size or not parts or ".." in parts:
            raise DamagedStateError(f"{path} is not a list of SHA-256 digests")
        yield name, digest_


def _signer(folder: Path, content: bytes) -> str:
    if not (folder / SIGNATURE).exists():
        return ""
    key, line = signatures.public_of_pem(_read(folder / KEY))
    if not signatures.file_holds(_read(folder / SIGNATURE), key, content):
        raise EnrolmentError(f"{folder / SIGNATURE} is not a signature of {SUMS} by {KEY}")
    return line


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedStateError(f"{path} cannot be read: {error.strerror}") from None
