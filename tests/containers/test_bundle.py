"""The archive that a hospital gets: it installs as a whole and from its maker, or not at all.

The image in it is a tiny one that podman makes here; the bundle and its programs are real.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from contained import DOCKER, need_podman, output, write_podman_settings

NAME = "fedrad-site-test"


@dataclass(frozen=True)
class Bundle:
    """A bundle as it arrived, unpacked."""

    folder: Path
    fingerprint: str
    image: str
    settings: Path  # podman's

    def install(self, home: Path, fingerprint: str = "") -> subprocess.CompletedProcess[str]:
        home.mkdir(exist_ok=True)
        given = {"PATH": os.environ["PATH"], "HOME": str(home)}
        given |= {"CONTAINERS_CONF": str(self.settings)}
        command = [str(self.folder / "install.sh"), fingerprint or self.fingerprint]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def make_key(path: Path) -> Path:
    output(
        *("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        *("-out", str(path)),
    )
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """Make a tiny image and bundle it; return the archive, the fingerprint, the image."""
    need_podman()
    folder = tmp_path_factory.mktemp("bundle")
    write_podman_settings(folder / "containers.conf")
    tag = f"localhost/{NAME}-{os.getpid()}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        command = ["podman", "import", "--quiet", "--change", "CMD [true]", "-", tag]
        subprocess.run(command, input=_files(), check=True, capture_output=True)
        image = output("podman", "image", "inspect", "--format", "{{.Id}}", tag).strip()
        key, file = make_key(folder / "release.key"), folder / f"{NAME}.tar.gz"
        said = output(str(DOCKER / "bundle.sh"), tag, str(key), str(file))
        output("podman", "rmi", "-f", image)
        yield file, said.strip().rpartition("read out: ")[2], image
        subprocess.run(["podman", "rmi", "-f", image], check=False, capture_output=True)


@pytest.fixture
def bundle(made: tuple[Path, str, str], tmp_path: Path) -> Bundle:
    file, fingerprint, image = made
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path, filter="data")
    return Bundle(tmp_path / NAME, fingerprint, image, file.parent / "containers.conf")


def _files() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        entry = tarfile.TarInfo("usr/share/fedrad/sbom.cdx.json")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"{}"))
    return held.getvalue()


def has_image(bundle: Bundle) -> bool:
    command = ["podman", "image", "exists", bundle.image]
    return subprocess.run(command, check=False).returncode == 0


def test_a_bundle_installs_without_a_registry_and_again(bundle: Bundle, tmp_path: Path) -> None:
    ended = bundle.install(tmp_path / "user")
    assert ended.returncode == 0, ended.stderr
    assert has_image(bundle)
    user = tmp_path / "user"
    settings = user / ".config/fedrad/site.env"
    assert f"FEDRAD_IMAGE={bundle.image}" in settings.read_text()
    assert os.access(user / ".local/bin/fedrad-site", os.X_OK)
    assert (user / ".config/systemd/user/fedrad-site.service").exists()
    own = settings.read_text().replace("FEDRAD_MEMORY=8g", "FEDRAD_MEMORY=3g")
    settings.write_text(own.replace(bundle.image, "0" * 64))
    assert bundle.install(user).returncode == 0
    assert settings.read_text() == own  # the image again, and the hospital's word kept


def test_a_bundle_holds_the_image_its_list_and_nothing_secret(bundle: Bundle) -> None:
    names = {path.name for path in bundle.folder.iterdir()}
    assert names == {
        *("image.tar", "image-id", "sbom.cdx.json", "fedrad-site", "fedrad-site.service"),
        *("site.env", "install.sh", "release.pub", "SHA256SUMS", "SHA256SUMS.sig"),
    }
    listed = (bundle.folder / "SHA256SUMS").read_text().split()[1::2]
    assert set(listed) == names - {"SHA256SUMS", "SHA256SUMS.sig"}
    assert not [p for p in bundle.folder.iterdir() if b"PRIVATE KEY" in p.read_bytes()]


def test_another_fingerprint_installs_nothing(bundle: Bundle, tmp_path: Path) -> None:
    ended = bundle.install(tmp_path / "user", "0" * 64)
    assert ended.returncode == 4
    assert "which is not the one given" in ended.stderr
    assert bundle.fingerprint.split()[0] in ended.stderr
    assert not list((tmp_path / "user").iterdir())


@pytest.mark.parametrize("name", ["image.tar", "fedrad-site", "sbom.cdx.json", "site.env"])
def test_a_changed_file_installs_nothing(bundle: Bundle, tmp_path: Path, name: str) -> None:
    with (bundle.folder / name).open("ab") as file:
        file.write(b"x")
    ended = bundle.install(tmp_path / "user")
    assert ended.returncode == 5
    assert "a file was changed" in ended.stderr
    assert not list((tmp_path / "user").iterdir())


def test_a_changed_file_with_a_changed_list_installs_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    path = bundle.folder / "fedrad-site"
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"x")
    after, sums = hashlib.sha256(path.read_bytes()).hexdigest(), bundle.folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, after))
    ended = bundle.install(tmp_path / "user")
    assert ended.returncode == 5
    assert "not signed by the release key" in ended.stderr


def test_a_bundle_that_somebody_else_signed_installs_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    key, sums = make_key(tmp_path / "other.key"), bundle.folder / "SHA256SUMS"
    output(
        "openssl", "pkey", "-in", str(key), "-pubout", "-out", str(bundle.folder / "release.pub")
    )
    signature = str(bundle.folder / "SHA256SUMS.sig")
    output("openssl", "dgst", "-sha256", "-sign", str(key), "-out", signature, str(sums))
    assert bundle.install(tmp_path / "user").returncode == 4


def test_without_a_release_key_nothing_is_made(tmp_path: Path) -> None:
    command = [
        str(DOCKER / "bundle.sh"),
        "image",
        str(tmp_path / "no.key"),
        str(tmp_path / "x.tar"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "openssl genpkey" in ended.stderr
    assert shutil.which("openssl")
