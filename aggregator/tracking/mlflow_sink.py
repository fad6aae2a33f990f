"""Send what a tracker is told to MLflow, at whatever its tracking URI names.

An experiment is a study, an MLflow run a fedrad run. Every number is sent once: what is there is
asked first. Neither models nor files are sent. MLflow's own reports about its use stay off, and
it gives up early: rounds do not wait, but a person does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from aggregator.tracking.told import Point, Told
from fedrad.errors import SettingsError, UnreachableError

_STATES = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "interrupted": "KILLED"}
_ID = "fedrad.id"
_MOST = 500  # points of one request; MLflow takes 1,000
_SILENT = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT")
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class MlflowSink:
    """One tracking server or store."""

    def __init__(self, uri: str) -> None:
        """Load MLflow; nothing is sent yet.

        Raises:
            SettingsError: MLflow is not installed, or does not know such an address.
        """
        os.environ |= dict.fromkeys(_SILENT, "true")
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError:
            line = "MLflow is not installed; pip install 'fedrad[mlflow]' brings its client"
            raise SettingsError("--to", (line,)) from None
        self.shown = without_password(uri)
        try:
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        except MlflowException as error:
            raise SettingsError("--to", (self._told_by(error, uri),)) from None
        self._uri = uri
        self._there: dict[str, set[tuple[str, int]]] = {}  # run -> keys and steps that are there

    def send(self, told: Told) -> int:
        """Send what is not there yet; return how many points were.

        Raises:
            UnreachableError: The tracker did not answer, or refused.
        """
        with self._answering():
            run = self._run(told)
            there = self._steps(run, told.points)
            new = [point for point in told.points if (point.key, point.step) not in there]
            for first in range(0, len(new), _MOST):
                batch = new[first : first + _MOST]
                self._client.log_batch(run, metrics=list(map(_metric, batch)))
                there |= {(point.key, point.step) for point in batch}
            self._finish(run, told)
        return len(new)

    def _run(self, told: Told) -> str:
        """Return the tracker's name of a run, made with its parameters if it is new."""
        known = self._client.get_experiment_by_name(told.study)
        where = known.experiment_id if known else self._client.create_experiment(told.study)
        found = self._client.search_runs([where], filter_string=f"tags.`{_ID}` = '{told.id}'")
        if found:
            return str(found[0].info.run_id)
        tags = told.tags | {_ID: told.id}
        made = str(self._client.create_run(where, tags=tags, run_name=told.run).info.run_id)
        for key, value in told.params.items():
            self._client.log_param(made, key, value)
        return made

    def _steps(self, run: str, points: Sequence[Point]) -> set[tuple[str, int]]:
        if run not in self._there:
            self._there[run] = {
                (key, int(one.step))
                for key in {point.key for point in points}
                for one in self._client.get_metric_history(run, key)
            }
        return self._there[run]

    def _finish(self, run: str, told: Told) -> None:
        for key, value in told.tags.items():
            self._client.set_tag(run, key, value)
        if told.status in _STATES:
            self._client.set_terminated(run, status=_STATES[told.status])
        else:
            self._client.update_run(run, status="RUNNING")

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn whatever MLflow and what it calls raise into one error of ours."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # the edge to a foreign program
            raise UnreachableError(
                f"the tracker at {self.shown} did not take it: {self._told_by(error, self._uri)}; "
                "rounds go on without it, and the next call sends what is missing"
            ) from None

    def _told_by(self, error: Exception, uri: str) -> str:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return first.replace(uri, self.shown)[:200]


def without_password(uri: str) -> str:
    """Return an address as it may be shown: nothing before an ``@``."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _metric(point: Point) -> Any:
    from mlflow.entities import Metric

    return Metric(point.key, point.value, point.time_ms, point.step)
