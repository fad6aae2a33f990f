"""The page on labels: self-contained, without an identifier, with what a radiologist needs."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from site_client.catalogue import update_catalogue
from site_client.dataset import load_split
from site_client.gate import admit
from site_client.label_page import FILE, label_section, write_page


@pytest.fixture
def page(site: Any, make_task: Any) -> str:
    """The written page of 40 patients on two scanners; the label follows the scanner."""
    rows = ["accession;label;reader;source"]
    for number in range(40):
        ill = number % 2
        site.image(
            f"P{number}", f"{number}.dcm", 500 + number, Manufacturer="Acme",
            ManufacturerModelName="AB"[ill], DeviceSerialNumber=f"SERIAL{ill}",
        )  # fmt: skip
        for reader in ("Dr. Who", "Dr. No"):
            said = ill if reader == "Dr. No" or number > 3 else 1 - ill
            rows.append(f"AP{number};{['no', 'yes'][said]};{reader};<b>report</b>")
    (site.home.parent / "labels.csv").write_text("\n".join(rows))
    task = make_task(labels={"rule": "any"})
    images = admit(update_catalogue(site.home), task).images
    datasets = [load_split(site.home, task, split) for split in ("train", "audit")]
    section = label_section(
        site.home, task, images, datasets=datasets, rng=np.random.default_rng(0)
    )
    return write_page(site.home, "demo", [section]).read_text(encoding="utf-8")


def test_the_page_says_what_labels_follow_and_how_readers_agree(page: str) -> None:
    assert "The label follows the scanner" in page
    assert "The label follows the reader" not in page
    assert re.search(r"reader A</td><td[^>]*>40</td><td[^>]*>20</td>", page)
    assert re.search(r"reader B</td><td[^>]*>40</td><td[^>]*>20</td>", page)
    assert re.search(r"Acme A [0-9a-f]{6}</td><td[^>]*>20</td>", page)
    assert re.search(r"a V of 0\.\d\d is flagged 8 times of 10", page)

    assert re.search(r"reader A and reader B</td><td[^>]*>40</td><td[^>]*>0\.80 \[0\.\d\d, ", page)
    assert "Dr. " not in page


def test_the_page_is_one_file_with_twenty_cases_and_no_identifier(page: str, site: Any) -> None:
    assert (site.home / FILE).exists()
    assert "&lt;b&gt;report" in page
    for loaded in ("http:", "https:", 'src="/', "<script"):
        assert loaded not in page
    plain = re.sub(r"base64,[^\"]*", "", page)
    assert not re.search(r"AP\d|P\d+\b|Nobody|SERIAL|1\.2\.\d", plain)

    found = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(found) == 20
    assert Image.open(io.BytesIO(base64.b64decode(found[0]))).size == (256, 256)
    names = re.findall(r"<figcaption>\d+ · ([0-9a-f]{8}) · <strong>(yes|no)</strong>", page)
    assert len(set(names)) == 20


def test_a_segmentation_shows_its_outlines(site: Any, make_task: Any) -> None:
    mask = np.zeros((6, 16, 16), np.uint8)
    mask[4, 3:9, 4:10] = 1
    site.settings(SPLITS.format(toml=(site.home / "site.toml").read_text()))
    site.mask(site.series("P1", mask.astype(np.int16) * 100), mask, "seg.dcm")
    task = make_task(
        task={"kind": "segmentation"}, data={"modality": "CT", "dimensions": 3},
        labels={"source": "seg", "map": {}}, recipe={"size": [8, 16, 16]},
        training={"loss": "dice"}, evaluation={"metrics": ["dice"]}, analysis={"primary": "dice"},
    )  # fmt: skip
    images = admit(update_catalogue(site.home), task).images
    datasets = [load_split(site.home, task, "train")]
    section = label_section(
        site.home, task, images, datasets=datasets, rng=np.random.default_rng(0)
    )
    (png,) = re.findall(r"data:image/png;base64,([^\"]+)", section)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
    outline = (pixels == (255, 220, 0)).all(axis=2)
    assert outline.sum() == 4 * (6 * 16) - 4
    assert "outlined" in section


SPLITS = "{toml}\n[splits]\ntrain = 1.0\naudit = 0.0\nwindow = 0.0\ntest = 0.0\n"
