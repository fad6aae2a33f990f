"""The bundle that a run is started with: constant, without code, one per wire protocol.

Flower starts no run without an app bundle and hands it to every node. Ours holds a
``pyproject.toml`` and nothing to import; what runs is installed at each end.
A site compares the digest and never opens the bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile

FAB_PUBLISHER, FAB_NAME = "fedrad", "fedrad-codeless"
STUDY_KEY = "study"  # the run's one setting: which study it is
_EPOCH = (1980, 1, 1, 0, 0, 0)


def bundle(protocol: int) -> bytes:
    """Return the bundle of wire protocol ``protocol``, the same bytes on every machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        entry = zipfile.ZipInfo("pyproject.toml", _EPOCH)
        entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, plain file
        archive.writestr(entry, _project(protocol))
    return buffer.getvalue()


def bundle_digest(protocol: int) -> str:
    """Return the SHA-256 of ``bundle(protocol)``, as Flower names bundles."""
    return hashlib.sha256(bundle(protocol)).hexdigest()


def _project(protocol: int) -> bytes:
    return f"""[project]
name = "{FAB_NAME}"
version = "{protocol}.0.0"

[tool.flwr.app]
publisher = "{FAB_PUBLISHER}"

[tool.flwr.app.components]
serverapp = "installed:only"
clientapp = "installed:only"

[tool.flwr.app.config]
{STUDY_KEY} = ""
""".encode()
