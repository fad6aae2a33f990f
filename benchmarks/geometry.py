"""Who reads eleven CT series right, who refuses them, and who is silently wrong.

Every reader gets the same folders (``geometry_cases``). Right: every volume that comes back has
the true value at the true place, voxel by voxel, whatever its axes are called. Refused: an
error, or no volume. Everything else is silently wrong, with what is wrong about it. Readers run
with their defaults, the way their documentation reads a folder.

Run: ``pip install -c constraints.txt -e '.[site,bench]'``, then ``python benchmarks/geometry.py``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from geometry_cases import CASES, Array, Truth, verdict

from fedrad.task import Task, parse_task

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
Volumes = list[tuple[Array, Array]]  # values and affine (index to LPS mm)
PACKAGES = ("SimpleITK", "itk", "monai", "dicom2nifti", "highdicom", "pydicom", "nibabel")
_SITE = """
[site]
name = "north"
[archive]
kind = "folder"
path = "{folder}"
[privacy]
epsilon_limit = 8.0
delta_limit = 1e-4
min_patients = 1
max_rounds = 1
max_steps = 1
"""


def main() -> None:
    """Print one row a case."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"{versions}\n\n| case | {' | '.join(READERS)} |\n|---|{'---|' * len(READERS)}")
    tallies = {name: {"right": 0, "refused": 0, "wrong": 0} for name in READERS}
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in enumerate(CASES):
            folder = Path(scratch, str(number), "dicom")
            truths = case.write(folder)
            cells = [_outcome(read, folder, truths) for read in READERS.values()]
            for name, cell in zip(READERS, cells, strict=True):
                tallies[name][cell.strip("*").split(maxsplit=1)[0].rstrip(":,")] += 1
            print(f"| {case.name} | {' | '.join(cells)} |", flush=True)
    totals = [f"{t['right']} / {t['refused']} / {t['wrong']}" for t in tallies.values()]
    print(f"| **right / refused / silently wrong** | {' | '.join(totals)} |")


def _outcome(read: Callable[[Path], Volumes], folder: Path, truths: Sequence[Truth]) -> str:
    try:
        with _quiet():
            volumes = read(folder)
    except Exception as error:  # noqa: BLE001  whatever a reader raises is its refusal
        reason = getattr(error, "reason", "")
        return f"refused{f': {reason}' if reason else ''}"
    if not volumes:
        return "refused"
    said = [verdict(values, affine, truths) for values, affine in volumes]
    wrong = [text for text in said if text != "right"]
    if wrong:
        return f"**wrong: {wrong[0]}**"
    return "right" if len(said) == len(truths) else f"right, {len(said)} of {len(truths)} volumes"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Python's and the native libraries' warnings: they are no refusal."""
    logging.disable(logging.CRITICAL)
    sys.stdout.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _fedrad(folder: Path) -> Volumes:
    from site_client.archive.instances import UnusableFileError
    from site_client.catalogue import update_catalogue
    from site_client.gate import admit
    from site_client.home import make_home
    from site_client.volumes import AXES, read_volume

    home = folder.parent / "home"
    make_home(home, _SITE.format(folder=folder))
    admitted = admit(update_catalogue(home), _task())
    found = []
    for _, rows in admitted.images.groupby("series"):
        volume = read_volume([folder / file for file in rows["file"]])
        found.append((volume.voxels, volume.frame.to_patient_orientation(AXES).affine))
    if not found:
        raise UnusableFileError(admitted.refused["reason"].iloc[0])
    return found


def _task() -> Task:
    return parse_task(
        {
            "schema": 1,
            "task": {"name": "geometry", "kind": "classification", "classes": ["no", "yes"],
                     "positive": "yes"},
            "data": {"modality": "CT", "dimensions": 3},
            "labels": {"source": "csv", "map": {"no": 0, "yes": 1}},
            "recipe": {"size": [16, 16, 16],
                       "intensity": {"kind": "range", "constants": "ct-lung-1"}},
            "model": {"name": "unet"},
            "training": {"steps": 1, "expected_batch_patients": 4},
            "federation": {"rounds": 1},
            "privacy": {"enabled": False},
            "evaluation": {"metrics": ["auroc"], "edges": [0, 0.5, 1]},
            "analysis": {"primary": "auroc"},
        }
    )  # fmt: skip


def _highdicom(folder: Path) -> Volumes:
    import highdicom
    import pydicom

    volume = highdicom.get_volume_from_series(
        [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    )
    return [(np.asarray(volume.array), np.asarray(volume.affine))]


def _simpleitk(folder: Path) -> Volumes:
    import SimpleITK

    found = []
    for series in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)):
        reader = SimpleITK.ImageSeriesReader()
        names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)
        reader.SetFileNames(names)
        image = reader.Execute()
        affine = np.eye(4)
        affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)  # (z, y, x) to (x, y, z)
        found.append((values, affine))
    return found


def _monai(reader: str) -> Callable[[Path], Volumes]:
    def read(folder: Path) -> Volumes:
        from monai.transforms import LoadImage

        image: Any = LoadImage(reader=reader, image_only=True)(folder)
        return [(image.numpy(), RAS @ image.affine.numpy())]

    return read


def _dicom2nifti(folder: Path) -> Volumes:
    import dicom2nifti
    import nibabel

    out = folder.parent / "nifti"
    out.mkdir()
    dicom2nifti.convert_directory(str(folder), str(out), compression=False)
    images = [nibabel.load(path) for path in sorted(out.iterdir())]
    return [(np.asarray(image.dataobj), RAS @ image.affine) for image in images]


READERS: dict[str, Callable[[Path], Volumes]] = {
    "fedrad": _fedrad,
    "highdicom": _highdicom,
    "SimpleITK": _simpleitk,
    "MONAI ITKReader": _monai("ITKReader"),
    "MONAI PydicomReader": _monai("PydicomReader"),
    "dicom2nifti": _dicom2nifti,
}

if __name__ == "__main__":
    main()
