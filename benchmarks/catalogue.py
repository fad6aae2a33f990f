"""How fast an archive is read beside one process that uses pydicom.

Writes 10,000 CT images of 126 kB and a phantom hospital, then measures, interleaved: the
catalogue against a loop that reads 15 of its values; the catalogue again with nothing changed;
a training split from files to arrays against a loop that does the same in one process.
Run: ``python benchmarks/catalogue.py``.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom import dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fedrad.durable import file_digest
from fedrad.task import Task
from simulations.hospital import HospitalSpec, write_hospital
from simulations.places import home_of, site_folder
from simulations.premises import open_home
from simulations.scenario import Baselines, Scenario, read_scenario
from site_client.archive.parent import the_nursery
from site_client.archive.readers import Readers, Request
from site_client.catalogue import update_catalogue
from site_client.cohort import assemble
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.gate import admit
from site_client.home import make_home, split_key
from site_client.images import read_image
from site_client.limits import Reading
from site_client.preparation import Preparation
from site_client.preprocess import prepare_image
from site_client.settings import read_site

VALUES = (
    "SOPInstanceUID", "SOPClassUID", "Modality", "PatientID", "IssuerOfPatientID",
    "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation",
    "ViewPosition",
)  # fmt: skip
SITE = "Site"
SITE_TOML = """
site = {{name = "{site}"}}
archive = {{kind = "folder", path = "{path}"}}
[privacy]
epsilon_limit = 8.0
delta_limit = 1e-4
min_patients = 1
max_rounds = 1
max_steps = 1
"""


def main() -> None:
    """Print one table a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scanners", default="plain")
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    print(f"pydicom {pydicom.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        _catalogue(Path(folder, "ct"), wishes.files, wishes.repeats)
        _images(Path(folder, "run"), wishes)


def _catalogue(folder: Path, files: int, repeats: int) -> None:
    archive, home = folder / "archive", folder / "home"
    _write_ct(archive, files)
    make_home(home, SITE_TOML.format(site=SITE, path=archive))
    look = partial(update_catalogue, home)
    times: dict[str, list[_Taken]] = {"loop": [], "catalogue": [], "nothing changed": []}
    for _ in range(repeats):
        times["loop"].append(_taken(lambda: _loop(archive)))
        (home / "catalogue.parquet").unlink(missing_ok=True)
        times["catalogue"].append(_taken(look))
        times["nothing changed"].append(_taken(look))
    print(f"\n{files} files of 126 kB; median [least, most] of {repeats}")
    _print(times, "loop", "catalogue")


def _write_ct(folder: Path, files: int) -> None:
    folder.mkdir(parents=True)
    voxels = np.random.default_rng(1).integers(0, 2000, (250, 252), np.int16).tobytes()
    for number in range(files):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            CTImageStorage,
            generate_uid(),
        )
        image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        image.update(_elements(number, meta.MediaStorageSOPInstanceUID))
        image.PixelData = voxels
        image.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)


def _elements(number: int, uid: str) -> pydicom.Dataset:
    series = number // 100
    said = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": uid, "Modality": "CT",
        "StudyDate": "20250102", "StudyTime": "101112", "AccessionNumber": f"A{series}",
        "Manufacturer": "ACME", "ManufacturerModelName": "One", "InstitutionName": "North",
        "StudyDescription": "Thorax", "SeriesDescription": "Lung 1.0", "PatientName": "A^B",
        "PatientID": f"P{series}", "PatientBirthDate": "19500101", "PatientSex": "F",
        "SliceThickness": "1.0", "KVP": "120", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyInstanceUID": f"1.2.826.0.1.{series}.1",
        "SeriesInstanceUID": f"1.2.826.0.1.{series}.2",
        "FrameOfReferenceUID": f"1.2.826.0.1.{series}.3", "InstanceNumber": str(number % 100),
        "ImagePositionPatient": [-180.5, -170.25, float(number % 100)],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.7, 0.7],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 250,
        "Columns": 252, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": 1, "RescaleIntercept": "-1024", "RescaleSlope": "1",
        "WindowCenter": ["40", "-600"], "WindowWidth": ["400", "1500"],
    }  # fmt: skip
    found = pydicom.Dataset()
    for keyword, value in said.items():
        setattr(found, keyword, value)
    return found


def _loop(archive: Path) -> None:
    for path in sorted(archive.iterdir()):
        elements = dcmread(path, stop_before_pixels=True, specific_tags=list(VALUES))
        for keyword in VALUES:
            elements.get(keyword)


def _images(run: Path, wishes: argparse.Namespace) -> None:
    _, task = read_scenario("four_hospitals", ("recipe.size=[128,128]",))
    scanners = dict.fromkeys(wishes.scanners.split(","), 1.0)
    spec = HospitalSpec(name=SITE, patients=wishes.patients, size=wishes.size, scanners=scanners)
    write_hospital(site_folder(run, SITE), spec, seed=1)
    scenario = Scenario(title="", baselines=Baselines(rates=(0.1, 0.2, 0.3)), hospitals=(spec,))
    open_home(run, SITE, scenario, task, seed=1)
    home = home_of(run, SITE)
    settings = read_site(home)
    catalogue = update_catalogue(home)
    names = pseudonyms(split_key(home))
    admitted = admit(catalogue, task)
    cohort = assemble(admitted, task, split="train", settings=settings, names=names)
    files = [unit.files[0] for units in cohort.units.values() for unit in units]
    times: dict[str, list[_Taken]] = {"loop": [], "workers": []}
    for _ in range(wishes.repeats):
        shutil.rmtree(home / "cache", ignore_errors=True)
        ours = Preparation(home, settings.archive.path, task, catalogue, names=names)
        times["workers"].append(_taken(partial(ours.patients, cohort)))
        times["loop"].append(_taken(partial(_prepare, settings.archive.path, files, task)))
    size = f"{wishes.size} px ({wishes.scanners})"
    print(f"\n{len(files)} images of {size} from file to array; median [least, most]")
    _print(times, "loop", "workers")


def _prepare(archive: Path, files: list[str], task: Task) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            file_digest(archive / file)
            image = read_image(archive / file)
            array = prepare_image(image.pixels, image.spacing_mm, task)
            np.save(Path(folder, f"{number}.npy"), array)


@dataclass(frozen=True)
class _Taken:
    """What one run took: by the clock, and of processors in all processes together."""

    wall_s: float
    processor_s: float


def _taken(work: Callable[[], object]) -> _Taken:
    """Measure one run, workers included: they are started before it and end within it."""
    with Readers(Reading()) as readers:
        next(readers.each([Request("os:getpid", {})]))
    before, idle = resource.getrusage(resource.RUSAGE_CHILDREN), _imports_s()
    start_s, own_s = time.perf_counter(), time.process_time()
    work()
    wall_s, own_s = time.perf_counter() - start_s, time.process_time() - own_s
    the_nursery().stop()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Taken(wall_s, own_s + max(0.0, children_s - idle))


def _imports_s() -> float:
    """Return the processor time that the running nursery took so far: its imports."""
    fields = Path(f"/proc/{the_nursery().pid}/stat").read_text(encoding="ascii").rsplit(")")[1]
    user, system, children_user, children_system = map(int, fields.split()[11:15])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + system + children_user + children_system) / ticks


def _print(times: dict[str, list[_Taken]], slow: str, quick: str) -> None:
    for name, taken in times.items():
        wall, processor = [t.wall_s for t in taken], [t.processor_s for t in taken]
        print(f"  {name:16} {_spread(wall)} s, {_spread(processor)} s of processors")
    pairs = list(zip(times[slow], times[quick], strict=True))
    print(f"  {slow} / {quick}: {_spread([one.wall_s / two.wall_s for one, two in pairs])}", end="")
    print(f"; of processors {_spread([o.processor_s / t.processor_s for o, t in pairs])}")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


if __name__ == "__main__":
    main()
