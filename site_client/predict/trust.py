"""Whose models a site runs: those of the coordinator whose key ``site.toml`` names."""

from __future__ import annotations

from pathlib import Path

from fedrad.errors import EnrolmentError
from fedrad.released import Released, refuse_other_signer
from site_client.limits import Reading
from site_client.settings import read_site


def refuse_unknown(model: Released, home: Path | None) -> None:
    """Refuse a model that the site's coordinator did not sign.

    Raises:
        EnrolmentError: There is no home, no coordinator in it, or no signature of its key.
        SettingsError: ``site.toml`` cannot be used.
    """
    known = None if home is None else read_site(home).coordinator
    if known is None:
        raise EnrolmentError(
            "whose signature counts is not known: name the site's home (--home) with a "
            "coordinator in site.toml, or say --unsigned"
        )
    refuse_other_signer(model.signed_by, known.key)


def reading_of(home: Path | None) -> Reading:
    """Return the site's limits of reading files, or the defaults without a home."""
    return Reading() if home is None else read_site(home).reading
