"""The gate follows the task's data contract and says why."""

from typing import Any

import pytest

from site_client.catalogue import update_catalogue
from site_client.gate import admit


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
    assert found.refused.to_dict("records") == [{"file": "bad.dcm", "reason": reason}]


def test_a_named_sop_class_is_the_only_one_let_in(site: Any, make_task: Any) -> None:
    site.image("P1", "1.dcm")
    task = make_task(data={"sop_classes": ["1.2.840.10008.5.1.4.1.1.1"]})
    assert list(admit(update_catalogue(site.home), task).refused["reason"]) == ["wrong-sop-class"]
