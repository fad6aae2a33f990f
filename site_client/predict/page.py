"""``prediction.html``: a prediction as one self-contained page, for the hospital's own eyes.

A score with its image and its Grad-CAM, or an image with what was drawn on it. Of a volume the
slice is shown where most was found. No name and no identifier is on the page.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from site_client.predict.result import Result

FILE = "prediction.html"
TEMPLATE = "prediction.html"
_EDGE = 640  # pixels of a shown image's longer side, at most
_COLOUR = np.array([255, 107, 0], np.float32)
_STRENGTH = 0.6  # of the colour where the map is 1
_GREYS = (0.5, 99.5)  # percentiles of the image that are shown black and white

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shown:
    """One image as people see it; PNG in base64."""

    plain: str
    marked: str
    slice: int  # from 1, of a volume; 0: a single image


def shown(values: Floats, heat: Floats) -> Shown:
    """Draw one image, plain and with a map over it.

    Args:
        values: (rows, columns) or (slices, rows, columns), as read.
        heat: The same shape, 0 to 1.
    """
    number = 0
    if values.ndim == 3:
        number = int(heat.sum(axis=(1, 2)).argmax()) + 1
        values, heat = values[number - 1], heat[number - 1]
    grey = _grey(values)
    alpha = _STRENGTH * np.clip(heat, 0, 1)[..., None]
    plain = np.repeat(grey[..., None], 3, axis=2)
    return Shown(_png(plain), _png(plain * (1 - alpha) + _COLOUR * alpha), number)


def render(result: Result, images: list[Shown]) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("site_client", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pairs = list(zip(result.images, images, strict=True))
    return environment.get_template(TEMPLATE).render(result=result, pairs=pairs)


def _grey(values: Floats) -> Floats:
    low, high = np.percentile(values, _GREYS)
    if not high > low:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1) * 255, np.float32)


def _png(pixels: Floats) -> str:
    image = Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
    image.thumbnail((_EDGE, _EDGE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
