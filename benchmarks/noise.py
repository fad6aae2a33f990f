"""What the noise of a private step costs: ways to draw it, and its share of a whole step.

The first table noises the parameters of a network in several ways, in turn, on one thread;
the unit is torch.randn in float32 added in float32, which is fast and no secret. The second
divides a whole private step (clipped sum, noise, optimiser) by its clipped sum. Run:

    python benchmarks/noise.py --repeats 9
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from monai.networks.nets import DenseNet121, UNet, resnet18
from randomgen import AESCounter, ChaCha
from torch import nn

from fedrad.models.layers import replace_batch_norm
from site_client.training.gradients import GradientSum, Tensors, clipped_sum
from site_client.training.losses import cross_entropy
from site_client.training.private import noised_mean
from site_client.training.source import PatientImages

STD, DIVISOR, BLOCK = 1.3, 32.0, 2**14
Way = Callable[[GradientSum], Tensors]


def networks() -> dict[str, nn.Module]:
    """Return the 2D networks of the table, for images of 64 × 64."""
    found = {
        "DenseNet121": DenseNet121(spatial_dims=2, in_channels=1, out_channels=2),
        "ResNet18": resnet18(
            spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=2
        ),
        "U-Net": UNet(
            spatial_dims=2, in_channels=1, out_channels=2, channels=(16, 32, 64, 128, 256),
            strides=(2, 2, 2, 2), num_res_units=2,
        ),
    }  # fmt: skip
    return {name: replace_batch_norm(module, groups=8) for name, module in found.items()}


def torch_float32(clipped: GradientSum) -> Tensors:
    """Draw with torch's generator, 32 bits of seed, and add in float32: the unit."""
    return {k: (t + STD * torch.randn(t.shape)) / DIVISOR for k, t in clipped.total.items()}


def by_tensor(rng: np.random.Generator, dtype: type = np.float64) -> Way:
    """Draw numpy's normals for each tensor, add, divide and cast, each in memory of its own."""

    def way(clipped: GradientSum) -> Tensors:
        noised = {}
        for name, tensor in clipped.total.items():
            exact = tensor.numpy().astype(dtype)
            noise = rng.standard_normal(exact.shape, dtype=dtype) * dtype(STD)
            noised[name] = torch.from_numpy(((exact + noise) / DIVISOR).astype(np.float32))
        return noised

    return way


def in_one_buffer(rng: np.random.Generator) -> Way:
    """Draw the noise of all tensors at once, then add in place."""
    buffer = np.empty(0)

    def way(clipped: GradientSum) -> Tensors:
        nonlocal buffer
        count = sum(tensor.numel() for tensor in clipped.total.values())
        buffer = buffer if len(buffer) == count else np.empty(count)
        rng.standard_normal(out=buffer)
        noised, start = {}, 0
        for name, tensor in clipped.total.items():
            part = buffer[start : start + tensor.numel()]
            start += len(part)
            noised[name] = torch.from_numpy(_released(part, tensor))
        return noised

    return way


def in_blocks(fill: Callable[[np.ndarray], None]) -> Way:
    """Draw, add and cast blocks that stay in the cache."""
    block = np.empty(BLOCK)

    def way(clipped: GradientSum) -> Tensors:
        noised = {}
        for name, tensor in clipped.total.items():
            exact = tensor.reshape(-1)
            released = np.empty(len(exact), np.float32)
            for start in range(0, len(exact), BLOCK):
                part = block[: min(BLOCK, len(exact) - start)]
                fill(part)
                released[start : start + BLOCK] = _released(part, exact[start : start + BLOCK])
            noised[name] = torch.from_numpy(released.reshape(tensor.shape))
        return noised

    return way


def _released(noise: np.ndarray, exact: torch.Tensor) -> np.ndarray:
    noise *= STD
    noise += exact.reshape(-1).numpy()
    noise /= DIVISOR
    return noise.astype(np.float32)


def box_muller() -> Callable[[np.ndarray], None]:
    """Return a filler with Box and Muller's normals from OpenSSL's ChaCha20, vectorised."""
    bits = Cipher(algorithms.ChaCha20(os.urandom(32), bytes(16)), mode=None).encryptor()
    stream, zeros = bytearray(8 * BLOCK), memoryview(bytes(8 * BLOCK))

    def fill(out: np.ndarray) -> None:
        half = (len(out) + 1) // 2
        bits.update_into(zeros[: 16 * half], stream)
        words = torch.from_numpy(np.frombuffer(stream, "<i8", 2 * half))
        uniform = (words >> 11 & (2**53 - 1)).double().add_(0.5).mul_(2.0**-53)
        radius, angle = (-2 * uniform[:half].log_()).sqrt_(), uniform[half:] * (2 * np.pi)
        torch.mul(radius, angle.cos(), out=torch.from_numpy(out[:half]))
        out[half:] = (radius * angle.sin())[: len(out) - half].numpy()

    return fill


def ways() -> dict[str, Way]:
    """Return every way by its name in the table, with sources keyed afresh."""
    key = int.from_bytes(os.urandom(32), "little")
    chacha = np.random.Generator(ChaCha(key=key, rounds=20))
    aes = np.random.Generator(AESCounter(key=key % 2**128))
    return {
        "torch.randn, float32, not secure": torch_float32,
        "randomgen ChaCha20, a tensor at a time": by_tensor(chacha),
        "the same in float32": by_tensor(chacha, np.float32),
        "the same in one buffer, added in place": in_one_buffer(chacha),
        "the same in blocks": in_blocks(lambda out: chacha.standard_normal(out=out)),
        "randomgen AES-128-CTR in blocks": in_blocks(lambda out: aes.standard_normal(out=out)),
        "OpenSSL ChaCha20, Box-Muller in blocks": in_blocks(box_muller()),
        "**noised_mean**: OpenSSL AES-256-CTR, ziggurat, on the grid": lambda clipped: noised_mean(
            clipped, chacha, std=STD, divisor=DIVISOR
        ),
    }


def seconds(way: Way, clipped: GradientSum) -> float:
    """Return the processor time of one call: other processes do not count."""
    start = time.process_time()
    way(clipped)
    return time.process_time() - start


def print_ways(repeats: int) -> None:
    """Print nanoseconds a parameter and the ratio to the unit, for each network."""
    found = ways()
    print("| way | network | ns a parameter, median (least) | ratio to torch.randn |")
    print("|---|---|---|---|")
    for network in ("DenseNet121", "ResNet18"):
        named = networks()[network].named_parameters()
        clipped = GradientSum({name: torch.randn(t.shape) for name, t in named}, 0)
        count = sum(tensor.numel() for tensor in clipped.total.values())
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(repeats):
            for name, way in found.items():
                times[name].append(seconds(way, clipped))
        unit = times[next(iter(found))]
        for name, taken in times.items():
            ratio = statistics.median(a / b for a, b in zip(taken, unit, strict=True))
            ns = [1e9 * value / count for value in taken]
            print(
                f"| {name} | {network}, {count / 1e6:.1f} million "
                f"| {statistics.median(ns):.1f} ({min(ns):.1f}) | {ratio:.2f} |"
            )


def print_steps(repeats: int, batch: int) -> None:
    """Print a whole private step in units of its clipped sum, for each network."""
    rng = np.random.default_rng(0)
    source = np.random.Generator(ChaCha(key=int.from_bytes(os.urandom(32), "little"), rounds=20))
    print(f"\n| 64², {batch} patients | clipped sum, s | noise, s | optimiser, s | whole / sum |")
    print("|---|---|---|---|---|")
    for name, module in networks().items():
        dense = name == "U-Net"
        images = rng.random((batch, 1, 1, 64, 64), dtype=np.float32)
        patients = [
            PatientImages(f"p{i:03d}", x, i % 2, (x > 0.5).astype(np.uint8) if dense else None)
            for i, x in enumerate(images)
        ]
        optimiser = torch.optim.SGD(module.parameters(), lr=1e-6, momentum=0.9)
        rows = [_step(module, patients, optimiser, source) for _ in range(repeats + 1)][1:]
        parts = [statistics.median(column) for column in zip(*rows, strict=True)]
        ratio = statistics.median(sum(row) / row[0] for row in rows)
        print(f"| {name} | {parts[0]:.2f} | {parts[1]:.3f} | {parts[2]:.3f} | {ratio:.3f} |")


def _step(
    module: nn.Module,
    patients: list[PatientImages],
    optimiser: torch.optim.Optimizer,
    source: np.random.Generator,
) -> tuple[float, float, float]:
    start = time.process_time()
    clipped = clipped_sum(module, patients, cross_entropy, max_norm=1.0)
    summed = time.process_time()
    noised = noised_mean(clipped, source, std=STD, divisor=DIVISOR)
    drawn = time.process_time()
    for name, tensor in module.named_parameters():
        tensor.grad = noised[name]
    optimiser.step()
    return summed - start, drawn - summed, time.process_time() - drawn


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=5, help="steps a network in the second table")
    parser.add_argument("--batch", type=int, default=32)
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    print_ways(wishes.repeats)
    print_steps(wishes.steps, wishes.batch)


if __name__ == "__main__":
    main()
