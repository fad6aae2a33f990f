"""What ``[reading]`` of ``site.toml`` says holds wherever foreign bytes are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from site_client.archive.inbox import Inbox
from site_client.archive.pacs import Series
from site_client.catalogue import update_catalogue
from site_client.dataset import load_split
from site_client.deidentify.pseudonyms import pseudonyms
from site_client.export import export
from site_client.limits import Reading
from site_client.retrieval.store import Store
from site_client.settings import read_site

PIXELS = np.full((16, 16), 7, np.uint16)
ALL_TRAIN = "[splits]\ntrain = 1.0\naudit = 0.0\nwindow = 0.0\ntest = 0.0\n"
Make = Callable[..., FileDataset]


def heavy(file: FileDataset) -> None:
    file.EncapsulatedDocument = bytes(40_000)


def deflated(file: FileDataset) -> None:
    file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file.EncapsulatedDocument = bytes(40 << 20)


def moving(file: FileDataset) -> None:
    file.NumberOfFrames, file.PixelData = 3, 3 * file.PixelData


def nested(file: FileDataset) -> None:
    file.RequestAttributesSequence = [Dataset()]
    file.RequestAttributesSequence[0].ScheduledProtocolCodeSequence = [Dataset()]


HURT = {
    "file_mib = 0.03": (heavy, "too-large"),
    "inflated_mib = 1.0": (deflated, "too-large"),
    "memory_gib = 0.02": (deflated, "too-large"),
    "pixels = 255": (lambda _: None, "too-large"),
    "frames = 2": (moving, "too-large"),
    "depth = 1": (nested, "too-deep"),
    "seconds = 0.01": (deflated, "too-slow"),
}


@pytest.mark.parametrize("line", HURT)
def test_a_limit_of_the_site_holds_for_the_catalogue_and_for_copies(
    site: Any, site_toml: str, write_image: Make, line: str
) -> None:
    hurt, reason = HURT[line]
    file = write_image(PIXELS, "P1")
    hurt(file)
    site.add(file, "x.dcm")
    assert list(update_catalogue(site.home)["reason"]) == [""]
    site.settings(f"{site_toml}[reading]\n{line}\n")
    assert list(update_catalogue(site.home)["reason"]) == [reason]
    copied = export(site.archive, site.home.parent / "copies", site.home)
    assert copied.refused == {reason: 1}


def test_a_limit_of_memory_holds_while_pixels_are_decoded(
    site: Any, site_toml: str, make_task: Any, write_image: Make
) -> None:
    site.add(write_image(np.full((2048, 2048), 7, np.uint16), "P1"), "x.dcm")
    site.image("P2", "y.dcm")
    site.label({"AP1": "yes", "AP2": "no"})
    site.settings(f"{site_toml}{ALL_TRAIN}[reading]\nmemory_gib = 0.02\n")
    assert len(load_split(site.home, make_task(), "train")) == 1
    assert site.reasons() == {"x.dcm": "too-large"}


@pytest.mark.parametrize("line", ["file_mib = 0.03", "depth = 1", "seconds = 0.01"])
def test_a_limit_of_the_site_holds_for_what_a_pacs_sends(
    site: Any, site_toml: str, write_image: Make, line: str
) -> None:
    hurt, reason = HURT[line]
    site.settings(f"{site_toml}[reading]\n{line}\n")
    file = write_image(PIXELS, "P1")
    hurt(file)
    series = Series(file.StudyInstanceUID, file.SeriesInstanceUID, "DX", "", 1)
    for reading, kept in ((read_site(site.home).reading, 0), (Reading(), 1)):
        settled = Store(site.home / "store", pseudonyms(b"k" * 32), reading).settle(
            series, received(site.home, file)
        )
        assert settled.kept == kept
        assert settled.refused == ({} if kept else {reason: 1})


def received(folder: Path, file: FileDataset) -> Inbox:
    """Return an inbox into which a PACS put one file."""
    place = folder / generate_uid()
    place.mkdir()
    file.save_as(place / "0.part", enforce_file_format=True)
    return Inbox(place, most_bytes=1 << 30, files=[place / "0.part"])


def test_a_drawing_larger_than_the_site_allows_is_not_read(
    site: Any, site_toml: str, make_task: Any
) -> None:
    slices = site.series("P1", np.zeros((3, 16, 16), np.int16))
    drawn = nibabel.Nifti1Image(np.zeros((16, 16, 3), np.int32), np.eye(4))
    nibabel.save(drawn, site.archive / "mask.nii")
    rows = f"series,mask\n{slices[0].SeriesInstanceUID},mask.nii\n"
    (site.home.parent / "labels.csv").write_text(rows)
    site.settings(f"{site_toml}{ALL_TRAIN}[reading]\nfile_mib = 0.003\n")
    assert update_catalogue(site.home).set_index("file")["reason"]["mask.nii"] == "too-large"
