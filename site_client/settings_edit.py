"""Change one value of ``site.toml`` where a person's command asks for it, and nothing else.

The file is the hospital's: comments, order and spacing stay to the byte. A change is written
only if the file then reads exactly as before but for that value; where its form does not
allow that, nothing is written and the error says the line to put in by hand.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from fedrad import durable
from fedrad.errors import SettingsError
from fedrad.settings import build
from site_client.settings import FILE, SiteSettings

_HEADER = re.compile(r"^\s*\[\s*([A-Za-z0-9_.-]+)\s*\]\s*(#.*)?$")


def put_values(home: Path, table: str, values: Mapping[str, Any]) -> None:
    """Set keys of one table of ``site.toml``, adding the table at the end if it is absent.

    Args:
        home: The site's folder.
        table: Its name, such as ``approval``.
        values: Key to text, number or list of texts.

    Raises:
        SettingsError: The file cannot be used, or not be changed without touching anything
            else; says what to put in by hand.
    """
    path = home / FILE
    text = path.read_text(encoding="utf-8")
    before = _parsed(path, text)
    wanted = copy.deepcopy(before)
    wanted.setdefault(table, {}).update(values)
    if wanted == before:
        return
    after = _edited(text, table, values)
    try:
        right = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        lines = "".join(f"\n    {_line(key, value)}" for key, value in values.items())
        problem = f"it cannot be changed safely; put this into [{table}] by hand:{lines}"
        raise SettingsError(str(path), (problem,))
    build(SiteSettings, wanted)  # what nobody could read afterwards is not written
    mode = path.stat().st_mode & 0o777
    durable.write_bytes(path, after.encode("utf-8"))
    path.chmod(mode)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), (f"not valid TOML: {error}",)) from None


def _edited(text: str, table: str, values: Mapping[str, Any]) -> str:
    lines = text.splitlines(keepends=True)
    start, end = _place(lines, table)
    if start < 0:
        gap = "" if not text or text.endswith("\n") else "\n"
        added = "".join(f"{_line(key, value)}\n" for key, value in values.items())
        return f"{text}{gap}\n[{table}]\n{added}"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for key, value in values.items():
        here = [i for i in range(start + 1, end) if re.match(rf"\s*{re.escape(key)}\s*=", lines[i])]
        if here:
            count = _height(lines[here[0] : end])
            lines[here[0]] = _replaced(lines[here[0]], key, value)
            del lines[here[0] + 1 : here[0] + count]
            end -= count - 1
        else:
            lines.insert(start + 1, f"{_line(key, value)}\n")
            end += 1
    return "".join(lines)


def _place(lines: list[str], table: str) -> tuple[int, int]:
    """Return the lines of a table's header and of the next header, or -1 where it is absent."""
    headers = [(i, found[1]) for i, line in enumerate(lines) if (found := _HEADER.match(line))]
    for place, (number, name) in enumerate(headers):
        if name == table:
            following = headers[place + 1][0] if place + 1 < len(headers) else len(lines)
            return number, following
    return -1, -1


def _height(lines: list[str]) -> int:
    """Return over how many lines the value in the first one goes; a comment among them: one."""
    for count in range(1, len(lines) + 1):
        block = lines[:count]
        if count > 1 and any("#" in line for line in block):
            return 1  # it would be lost: what remains is no TOML, so nothing is written
        if _reads("".join(block)):
            return count
    return 1


def _replaced(line: str, key: str, value: Any) -> str:
    """Return the line with another value; a comment behind it stays."""
    bare = line.rstrip("\n")
    for mark in (found.start() for found in re.finditer("#", bare)):
        if _reads(bare[:mark]):  # so that this # is in no text
            value_end = len(bare[:mark].rstrip())
            return f"{_line(key, value)}{bare[value_end:]}\n"
    return f"{_line(key, value)}\n"


def _reads(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _line(key: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{key} = [{', '.join(_line('x', item)[4:] for item in value)}]"
    return tomli_w.dumps({key: value}).strip()
