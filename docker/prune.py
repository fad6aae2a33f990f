"""Take out of an image what fedrad does not run on; part of the build, never in the image.

- ``prune.py libraries VENV``: installers, tests and headers, out of an environment.
- ``prune.py packages VENV NAME...``: fedrad's packages that this image has no use for.
- ``prune.py programs VENV NAME...``: every program but Python and those named.
- ``prune.py root ROOT NAME...``: installers, compilers, shells, out of a system: of its folders
  for programs only Python and those named are left.
"""

import shutil
import sys
from pathlib import Path

PROGRAMS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
INSTALLERS = ("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "ensurepip", "uv")
NOT_RUN = (
    *("idlelib", "lib2to3", "tkinter", "turtledemo", "test", "pydoc_data", "torch/test"),
    *("Crypto/SelfTest", "distutils-precedence.pth"),  # keys to test with; a hook of setuptools
)
FOLDERS = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/perl5"),
    *("usr/share/python-wheels", "usr/share/perl", "usr/lib/apt", "usr/lib/gcc", "usr/include"),
    *("usr/lib/x86_64-linux-gnu/perl-base", "usr/lib/x86_64-linux-gnu/perl", "usr/local/include"),
    *("var/cache", "var/lib/apt", "var/log", "var/lib/dpkg/info", "etc/apt", "root", "src"),
)
NEEDED = "torch_shm_manager"  # torch's own helper for tensors that processes share


def libraries(venv: Path) -> None:
    """Remove installers, tests and headers."""
    for library in venv.glob("lib/python3*/site-packages"):
        _remove_from(library)
        for path in library.glob("torch/bin/*"):
            if path.name != NEEDED:
                _remove(path)
    for path in [p for kind in ("tests", "include") for p in venv.rglob(kind) if p.is_dir()]:
        _remove(path)


def packages(venv: Path, *names: str) -> None:
    """Remove packages by name."""
    for library in venv.glob("lib/python3*/site-packages"):
        for name in names:
            _remove(library / name)


def programs(venv: Path, *names: str) -> None:
    """Remove an environment's programs but these."""
    _keep_programs(venv / "bin", names)


def root(top: Path, *names: str) -> None:
    """Remove everything of a system that installs, compiles or starts a shell."""
    python = [*top.glob("usr/lib/python3*"), *top.glob("usr/local/lib/python3*")]
    for library in python:
        for name in (".", "dist-packages", "site-packages"):
            _remove_from(library / name)
    for name in FOLDERS:
        _remove(top / name)
    for name in PROGRAMS:
        if (top / name).is_dir() and not (top / name).is_symlink():
            _keep_programs(top / name, names)
    Path(__file__).unlink()


def _remove_from(library: Path) -> None:
    for name in (*INSTALLERS, *NOT_RUN):
        _remove(library / name)
    for path in library.glob("*.dist-info"):
        if path.name.split("-")[0] in INSTALLERS:
            _remove(path)


def _keep_programs(folder: Path, names: tuple[str, ...]) -> None:
    for path in folder.iterdir():
        python = path.name == "python" or path.name.startswith("python3")
        if not ((python and "config" not in path.name) or path.name in names):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    act = {"libraries": libraries, "packages": packages, "programs": programs, "root": root}
    act[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
