"""Print what fedrad needs, one requirement a line: ``requirements.py PYPROJECT [EXTRA,EXTRA]``.

An image installs these before fedrad's own code, so that a release rebuilds seconds, not minutes.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = [name for name in "".join(sys.argv[2:]).split(",") if name]
for line in sum(
    (project["optional-dependencies"][name] for name in extras), project["dependencies"]
):
    print(line)  # noqa: T201  # the program's answer
