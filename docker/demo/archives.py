"""Write the demo's phantom hospitals: ``archives.py NAME...``, each into ``/demo/NAME``.

What is there already is left as it is, so that the demo may be started again.
"""

import sys
from pathlib import Path

from simulations.hospital import HospitalSpec, write_hospital

PATIENTS = 160
TOP = Path("/demo")

for number, name in enumerate(sys.argv[1:], start=1):
    if not (TOP / name / "labels.csv").exists():
        spec = HospitalSpec(name=name, patients=PATIENTS, size=64)
        write_hospital(TOP / name, spec, seed=number)
    print(f"{name}: {PATIENTS} phantom patients", flush=True)  # noqa: T201  # the program's answer
