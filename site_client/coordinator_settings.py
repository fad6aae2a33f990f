"""``[coordinator]`` of ``site.toml``: the one destination, and by what it is known.

Written by ``fedrad-site accept`` from an invitation whose fingerprint a person compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedrad.enrolment import address_problems
from fedrad.settings import refuse_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """Who coordinates, and where."""

    name: str
    address: str  # host:port
    key: str  # of its signing key, as people read it out

    def __post_init__(self) -> None:
        refuse_problems("coordinator", self)

    def problems(self) -> Iterator[str]:
        """Yield one line for each value that cannot be used."""
        yield from address_problems("address", self.address)
        if not self.key:
            yield "key must be the fingerprint that the coordinator reads out"
