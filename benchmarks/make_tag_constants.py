"""Write the public vocabulary of DICOM tags, ``fedrad/constants/tags-1.json``.

Run once: ``python benchmarks/make_tag_constants.py``. Other words or bins need a new name.
"""

from __future__ import annotations

import json
from pathlib import Path

from fedrad import constants
from fedrad.constants import read_constants

NAME = "tags-1"
RADIOGRAPH = ["manufacturer", "kvp", "pixel spacing"]
BY_MODALITY = {
    "CR": RADIOGRAPH,
    "DX": RADIOGRAPH,
    "MG": RADIOGRAPH,
    "CT": ["manufacturer", "kvp", "slice thickness"],
    "MR": ["manufacturer", "field strength", "echo time"],
}
EDGES = {  # between bins: a value on an edge belongs to the bin above
    "kvp": [50, 75, 95, 110, 130],
    "pixel spacing": [0.12, 0.16, 0.19, 0.5],
    "slice thickness": [1.1, 2.2, 3.2, 5.5],
    "field strength": [0.8, 2.0, 4.0],
    "echo time": [15, 40, 80, 120],
    "age": [18, 40, 60, 75],
}
SOURCE = (
    "Makers as in feasibility-1. Bins of numbers: round values between the settings that are "
    "common in practice: KVP (0018,0060) kV, Slice Thickness (0018,0050) mm, Pixel Spacing "
    "(0028,0030) or Imager Pixel Spacing (0018,1164) mm, Magnetic Field Strength (0018,0087) T, "
    "Echo Time (0018,0081) ms, Patient's Age (0010,1010) years; Patient's Sex (0010,0040). Chosen "
    "without looking at any site's data; benchmarks/make_tag_constants.py."
)


def main() -> None:
    """Write the constants file."""
    words = {
        "manufacturer": read_constants("feasibility-1")["values"]["vendors"],
        "sex": {"F": "F", "M": "M"},
    }
    values = {
        "tags": BY_MODALITY,
        "population": ["sex", "age"],
        "words": words,
        "edges": EDGES,
    }
    record = {
        "name": NAME,
        "version": 1,
        "source": SOURCE,
        "licence": "CC0-1.0",
        "values": values,
    }
    path = Path(constants.__file__).parent / f"{NAME}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
