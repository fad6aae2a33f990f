"""What de-identification tools leave of 652 tags, at the top of an object and two sequences deep.

One object for each tag of PS3.15 Table E.1-1 (2026c), plus private and unknown tags, curves and
overlays; a canary is left if its value stands unchanged in the written file. Compared are
fedrad's profile and dicom-anonymizer with its rules of 2023 (its default) and of 2026c.

    python benchmarks/deidentification.py
"""

from __future__ import annotations

import importlib.metadata
import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import identifier_canaries as canaries
import numpy as np
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions
from pydicom.dataset import FileDataset

from site_client.deidentify.apply import deidentified
from site_client.deidentify.pixels import put_pixels
from site_client.deidentify.profile import read_profile
from site_client.deidentify.pseudonyms import pseudonyms

Tool = Callable[[FileDataset], Any]
NAMES = pseudonyms(b"benchmark" * 4)


def fedrad(instance: FileDataset) -> Any:
    """Clean with this project's profile."""
    clean = deidentified(instance, "p" * 32, names=NAMES, profile=read_profile())
    put_pixels(clean, np.frombuffer(instance.PixelData, "<i2").reshape(8, 8))
    return clean


def anonymizer(year: str) -> Tool:
    """Return dicom-anonymizer with one of its tables."""

    def clean(instance: FileDataset) -> Any:
        rules = initialize_actions(f"dicomfields_{year}")
        anonymize_dataset(instance, base_rules_gen=lambda: rules)
        return instance

    return clean


def left(
    tool: Tool, place: Callable[..., FileDataset], some: list[canaries.Canary]
) -> tuple[int, int]:
    """Count canaries that a tool leaves, each in an object of its own, and objects it refuses."""
    leaks = refused = 0
    for one in some:
        try:
            content = canaries.raw(tool(canaries.round_trip(place(one))))
        except Exception:  # noqa: BLE001  a tool that refuses leaves nothing
            refused += 1
            continue
        leaks += bool(canaries.leaks(content, one))
    return leaks, refused


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    tools: dict[str, Tool] = {
        "fedrad": fedrad,
        "dicom-anonymizer, rules of 2023": anonymizer("2023"),
        "dicom-anonymizer, rules of 2026c": anonymizer("2026c"),
    }
    groups = {"E.1-1": canaries.table_canaries(), **canaries.other_canaries()}
    places = {"top": canaries.at_top, "nested": canaries.nested}
    heads = [
        f"{group} ({len(some)}), {place}" for group, some in groups.items() for place in places
    ]
    print(f"| tool | {' | '.join(heads)} | refused | s |\n|{'---|' * (len(heads) + 3)}")
    for name, tool in tools.items():
        began = time.perf_counter()
        found = [left(tool, place, some) for some in groups.values() for place in places.values()]
        counts = " | ".join(str(count) for count, _ in found)
        refused = sum(number for _, number in found)
        print(f"| {name} | {counts} | {refused} | {time.perf_counter() - began:.0f} |")
    print("dicom-anonymizer", importlib.metadata.version("dicom-anonymizer"))


if __name__ == "__main__":
    main()
