"""What two strangers must agree on: task, models, privacy, metric sums and messages."""

__version__ = "0.1.0"
