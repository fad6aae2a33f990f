"""The gate follows the task's data contract and says why."""

from typing import Any

import numpy as np
import pytest

from site_client.catalogue import update_catalogue
from site_client.gate import admit


@pytest.fixture
def as_volumes() -> dict[str, Any]:
    """What makes the demo task one of CT volumes."""
    return {
        "data": {"modality": "CT", "dimensions": 3},
        "recipe": {"size": [16, 16, 16]},
    }


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CR"}, "wrong-modality"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "wrong-sop-class"),
        ({"BurnedInAnnotation": "YES"}, "burned-in-text"),
        ({"PhotometricInterpretation": "RGB"}, "colour"),
        ({"Rows": 8, "Columns": 32}, "too-small"),
        ({"ViewPosition": "LL"}, "other-view"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
    ],
)
def test_an_image_outside_the_contract_is_refused(
    site: Any, make_task: Any, elements: dict[str, Any], reason: str
) -> None:
    site.image("P1", "good.dcm")
    site.image("P2", "bad.dcm", **elements)
    found = admit(update_catalogue(site.home), make_task(data={"views": ["PA"]}))
    assert list(found.images["file"]) == ["good.dcm"]
    assert found.refused.to_dict("records") == [{"file": "bad.dcm", "reason": reason, "detail": ""}]


def test_a_named_sop_class_is_the_only_one_let_in(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm")
    task = make_task(data={"sop_classes": ["1.2.840.10008.5.1.4.1.1.1"]})
    assert list(admit(update_catalogue(site.home), task).refused["reason"]) == ["wrong-sop-class"]


def test_raw_detector_images_and_screenshots_are_no_images_of_the_modality(
    site: Any, make_task: Any
) -> None:
    """Without named classes: for presentation alone."""
    for number, storage in enumerate(("1.1.1", "1", "7")):
        site.image("P1", f"{number}.dcm", SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{storage}")
    site.image("P1", "3.dcm")
    found = admit(update_catalogue(site.home), make_task())
    assert list(found.images["file"]) == ["3.dcm"]
    assert set(found.refused["reason"]) == {"wrong-sop-class"}


def test_a_series_that_lost_its_last_slice_is_refused_as_a_whole(
    site: Any, make_task: Any, as_volumes: dict[str, Any]
) -> None:
    """Five of six slices make a fine volume: only the quarantine knows better."""
    site.series("P1", np.zeros((6, 16, 16), np.int16))
    site.series("P2", np.zeros((6, 16, 16), np.int16))
    last = site.archive / "P1/5.dcm"
    last.write_bytes(last.read_bytes()[:-100])
    found = admit(update_catalogue(site.home), make_task(**as_volumes))
    assert set(found.images["file"]) == {f"P2/{number}.dcm" for number in range(6)}
    assert set(found.refused["reason"]) == {"series-incomplete"}
    assert set(found.refused["detail"]) == {"1 files of the series were set aside: 1 truncated"}


def test_a_damaged_file_of_somebody_else_takes_nothing_from_a_series(
    site: Any, make_task: Any, as_volumes: dict[str, Any]
) -> None:
    """Two patients with one SeriesInstanceUID: neither decides about the other's part."""
    voxels = np.zeros((5, 16, 16), np.int16)
    site.series("P1", voxels, SeriesInstanceUID="1.2.3")
    site.series("P2", voxels, SeriesInstanceUID="1.2.3")
    (damaged := site.archive / "P2/4.dcm").write_bytes(damaged.read_bytes()[:-20])
    found = admit(update_catalogue(site.home), make_task(**as_volumes))
    assert set(found.images["file"]) == {f"P1/{number}.dcm" for number in range(5)}


def test_a_copy_of_a_slice_takes_nothing_from_its_series(
    site: Any, make_task: Any, as_volumes: dict[str, Any]
) -> None:
    slices = site.series("P1", np.zeros((6, 16, 16), np.int16))
    site.add(slices[2], "P1/copy.dcm")
    assert len(admit(update_catalogue(site.home), make_task(**as_volumes)).images) == 6


@pytest.mark.parametrize(
    ("elements", "found"),
    [
        ({"PatientOrientation": ["L", "F"]}, "LF"),
        ({"PatientOrientation": ["LA", "FP"]}, "LF"),
        ({}, ""),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "axial"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "sagittal"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "coronal"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.7071068, 0.7071068]}, "oblique"),
    ],
)
def test_a_task_may_ask_for_an_orientation(
    site: Any, make_task: Any, elements: dict[str, Any], found: str
) -> None:
    site.image("P1", "1.dcm", **elements)
    table = update_catalogue(site.home)
    assert list(table["orientation"]) == [found]
    refused = admit(table, make_task(data={"orientations": ["LF", "axial"]})).refused
    expected = [] if found in ("LF", "axial") else ["other-orientation"]
    assert list(refused["reason"]) == expected


def test_the_scanner_is_known_by_its_maker_and_a_pseudonym(site: Any) -> None:
    site.image(
        "P1", "1.dcm", Manufacturer="Acme", ManufacturerModelName="One", DeviceSerialNumber="77"
    )
    row = update_catalogue(site.home).iloc[0]
    assert (row["maker"], len(row["device"])) == ("Acme One", 32)
