"""What people read for a metric, in reports and on pages of both sides."""

from __future__ import annotations

NAMES = {
    "auroc": "AUROC",
    "auprc": "Average precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "prevalence": "Prevalence",
    "dice_mean": "Mean Dice",
    "dice_p50": "Median Dice",
    "dice_p10": "Dice, 10th percentile",
    "failure_rate": "Dice under 0.5",
    "nsd_mean": "Mean surface Dice",
    "nsd_p50": "Median surface Dice",
    "nsd_p10": "Surface Dice, 10th percentile",
    "hd95_p50": "Median HD95",
    "oe_ratio": "Observed / expected",
    "calibration_slope": "Calibration slope",
    "temperature": "Temperature",
    "brier": "Brier score",
    "ece": "Calibration error",
}


def spoken(metric: str) -> str:
    """Return a metric's name for readers."""
    return NAMES.get(metric, metric.replace("_", " ").capitalize())
