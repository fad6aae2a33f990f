"""Write a model's card beside it: ``model-card.json``, ``model-card.md``, ``sbom.cdx.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from aggregator.card.content import as_front_matter, card_of
from aggregator.card.sbom import sbom
from aggregator.chosen import Chosen
from fedrad import durable
from fedrad.released import About

JSON, MARKDOWN, SBOM = "model-card.json", "model-card.md", "sbom.cdx.json"
TEMPLATE = "model-card.md"
_ESCAPED = str.maketrans(
    {"|": "\\|", "<": "&lt;", ">": "&gt;", "`": "'", "\n": " ", "\r": " ", "*": "\\*"}
)


def write_card(run: Path, out: Path, chosen: Chosen, about: About) -> None:
    """Write the card and the list of software into a model's folder.

    Raises:
        SettingsError: The run has no task.
        RunError: A hospital's name would leave the run.
    """
    card, letters = card_of(run, chosen, about)
    text = render(card)
    letters.refuse_names([text, durable.canonical_json(card).decode("utf-8")])
    durable.write_json(out / JSON, card)
    durable.write_bytes(out / MARKDOWN, text.encode("utf-8"))
    durable.write_json(out / SBOM, sbom())


def render(card: dict[str, Any]) -> str:
    """Return the card as Markdown with Hugging Face's fields in front."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aggregator", "templates"),
        autoescape=False,  # noqa: S701  # Markdown; every text passes ``md``
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": _plain, "capitalize_first": _capital}
    environment.filters |= {"figure": _figure, "value": _value}
    front = as_front_matter(card["huggingface"])
    return environment.get_template(TEMPLATE).render(card=card, front=front)


def _plain(text: Any) -> str:
    """Return a text that Markdown shows as it is: no table, no tag, no line of its own."""
    return "" if text is None else str(text).translate(_ESCAPED)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _figure(metrics: Sequence[dict[str, Any]], name: str) -> str:
    one = next((metric for metric in metrics if metric["metric"] == name), None)
    return "not measured" if one is None else _value(one)


def _value(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return "not estimable"
    found = f"{one['value']:.3f}"
    if one["lo"] is None or one["hi"] is None:
        return found
    return f"{found} ({one['lo']:.3f} to {one['hi']:.3f})"
