"""Lay a mask from a NIfTI file on the series it was drawn on, or refuse it.

NIfTI keeps no reference to a series, only an affine to millimetres, in axes that point to the
right, to anterior and to the head (RAS+) where DICOM's point to the left, to posterior and to
the head. The mask's grid must be the series' own, up to the order and direction of axes:
nothing is resampled. It takes bytes, inflates no more than the series can need, and reads no
file.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from site_client.archive.instances import UnusableFileError, foreign_bytes
from site_client.volumes import SeriesVolume

OFF_GRID = 0.1  # of a voxel, at the corners
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SIZES = {348: nibabel.Nifti1Image, 540: nibabel.Nifti2Image}  # by sizeof_hdr
_HEADER_BYTES = 1 << 20  # header and extensions, generously
_WIDEST = 8  # bytes of a voxel

Floats = NDArray[np.float64]


def nifti_mask(
    content: bytes, volume: SeriesVolume, classes: Mapping[str, int]
) -> NDArray[np.bool_] | None:
    """Return what a NIfTI file marks on a series, or ``None`` if it holds other classes alone.

    Args:
        content: The file: ``.nii``, or ``.nii.gz``.
        volume: The series that it was drawn on.
        classes: The task's map from a voxel's value, written as text, to class index; 0 is
            background. Empty: every other value counts.

    Returns:
        bool (slices, rows, columns), slices in the order of ``volume.uids``.

    Raises:
        UnusableFileError: ``too-large``, ``mask-unreadable``, ``mask-affine-missing``,
            ``mask-affine-unclear``, ``mask-other-grid`` or ``mask-values``.
    """
    most = int(np.prod(volume.frame.spatial_shape)) * _WIDEST + _HEADER_BYTES
    with foreign_bytes("mask-unreadable"):
        image = _image(_inflated(content, most))
        shape = _shape(image)
        order, backward = _axes(_affine(image, shape), shape, volume)
        values = np.asarray(image.dataobj).reshape(shape).transpose(order)
        return _marked(np.flip(values, tuple(backward)), classes)


def _inflated(content: bytes, most: int) -> bytes:
    if content[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(content, most + 1)
    if len(content) > most:
        raise UnusableFileError("too-large", f"more than {most} bytes")
    return content


def _image(content: bytes) -> Any:
    size = {int.from_bytes(content[:4], order) for order in ("little", "big")} & _SIZES.keys()
    return _SIZES[size.pop()].from_bytes(content)


def _shape(image: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise UnusableFileError("mask-other-grid", f"{'x'.join(map(str, shape))} is no volume")
    return shape[:3]


def _affine(image: Any, shape: tuple[int, ...]) -> Floats:
    """Return the affine from indices to LPS mm."""
    header = image.header
    if header.get_xyzt_units()[0] not in ("mm", "unknown"):
        raise UnusableFileError("mask-affine-unclear", "lengths that are not millimetres")
    found = [get(coded=True)[0] for get in (header.get_sform, header.get_qform)]
    known = [np.asarray(affine, np.float64) for affine in found if affine is not None]
    if not known:
        raise UnusableFileError("mask-affine-missing", "neither sform nor qform says where")
    apart = _apart(known[0], known[-1], shape)
    if not apart <= OFF_GRID:
        raise UnusableFileError("mask-affine-unclear", f"sform and qform {apart:.2g} voxels apart")
    return np.asarray(_RAS_TO_LPS @ known[0])


def _apart(one: Floats, other: Floats, shape: tuple[int, ...]) -> float:
    corners = _corners(shape)
    return float(np.abs(np.linalg.inv(one) @ other @ corners - corners).max())


def _corners(shape: tuple[int, ...]) -> Floats:
    """Return the corner voxels' indices, (4, 8) with ones below."""
    ends = itertools.product(*[(0, n - 1) for n in shape])
    return np.array([(*corner, 1) for corner in ends], np.float64).T


def _axes(
    affine: Floats, shape: tuple[int, ...], volume: SeriesVolume
) -> tuple[list[int], list[int]]:
    """Return the mask's axis for each of the series', and the series' axes to turn round."""
    turn = _turn(affine, shape, volume)
    if turn is None:
        hint = ""
        if _turn(_RAS_TO_LPS @ affine, shape, volume) is not None:
            hint = "; it would be, had the affine been written as LPS: convert it to RAS"
        raise UnusableFileError(
            "mask-other-grid",
            f"{'x'.join(map(str, shape))} voxels are not the series' "
            f"{'x'.join(map(str, volume.frame.spatial_shape))} at their places{hint}",
        )
    order = [int(np.abs(row).argmax()) for row in turn]
    return order, [axis for axis, row in enumerate(turn) if row.sum() < 0]


def _turn(affine: Floats, shape: tuple[int, ...], volume: SeriesVolume) -> Floats | None:
    """Return the signed permutation from the mask's indices to the series', if it is one."""
    ours = volume.frame.spatial_shape
    indices = np.linalg.inv(volume.frame.affine) @ affine
    turn = np.asarray(np.round(indices[:3, :3]))
    if (np.abs(turn).sum(axis=0) != 1).any() or (np.abs(turn).sum(axis=1) != 1).any():
        return None
    if tuple(np.abs(turn).astype(int) @ shape) != tuple(ours):
        return None
    start = np.array([n - 1 if row.sum() < 0 else 0 for n, row in zip(ours, turn, strict=True)])
    corners = _corners(shape)
    expected = turn @ corners[:3] + start[:, None]
    return turn if np.abs((indices @ corners)[:3] - expected).max() <= OFF_GRID else None


def _marked(values: NDArray[Any], classes: Mapping[str, int]) -> NDArray[np.bool_] | None:
    found = np.unique(values)
    if not np.isfinite(found).all() or (found != np.round(found)).any():
        raise UnusableFileError("mask-values", "voxels that are no whole numbers")
    inside = found[found != 0]
    if not classes:
        return np.asarray(values != 0)
    wanted = [value for value in inside if classes.get(str(int(value))) == 1]
    known = any(str(int(value)) in classes for value in inside)
    return np.asarray(np.isin(values, wanted)) if known or not len(inside) else None
