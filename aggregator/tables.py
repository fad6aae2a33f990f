"""The tables of ``run.sqlite``, column for column what docs/architecture.md promises.

A column that is part of a row's identity is part of the primary key, so that writing the
same fact twice leaves one row. Nothing here opens a file.
"""

from __future__ import annotations

from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

SCHEMA = 1  # PRAGMA user_version


class Table(MappedAsDataclass, DeclarativeBase):
    """A row of one table."""


class Run(Table, kw_only=True):
    """One run of one study."""

    __tablename__ = "runs"
    run: Mapped[str] = mapped_column(primary_key=True)
    study: Mapped[str]
    task_hash: Mapped[str]
    started: Mapped[str]
    ended: Mapped[str] = mapped_column(default="")
    status: Mapped[str] = mapped_column(default="running")
    reason: Mapped[str] = mapped_column(default="")
    seed: Mapped[int]
    engine: Mapped[str]
    versions_json: Mapped[str]


class Site(Table, kw_only=True):
    """One site of the contract; ``label`` is what readers see."""

    __tablename__ = "sites"
    site: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str]
    node_key: Mapped[str]
    patients_agreed: Mapped[int]
    joined: Mapped[str]
    left: Mapped[str] = mapped_column(default="")
    status: Mapped[str]


class Round(Table, kw_only=True):
    """One round and how far it came."""

    __tablename__ = "rounds"
    round: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    accepted_digest: Mapped[str] = mapped_column(default="")
    model_digest: Mapped[str] = mapped_column(default="")
    started: Mapped[str]
    ended: Mapped[str] = mapped_column(default="")


class Answer(Table, kw_only=True):
    """What one site answered in one phase of one round; ``weight`` is its share."""

    __tablename__ = "replies"
    round: Mapped[int]
    phase: Mapped[str]
    site: Mapped[str]
    reply_id: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    reason_code: Mapped[str]
    update_digest: Mapped[str] = mapped_column(default="")
    weight: Mapped[float] = mapped_column(default=0.0)
    ledger_head: Mapped[str] = mapped_column(default="")
    bytes: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)


class Report(Table, kw_only=True):
    """One value of one block of sums of one site."""

    __tablename__ = "reports"
    round: Mapped[int] = mapped_column(primary_key=True)
    window: Mapped[str] = mapped_column(primary_key=True, default="")
    site: Mapped[str] = mapped_column(primary_key=True)
    model_digest: Mapped[str]
    block: Mapped[str] = mapped_column(primary_key=True)
    idx: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]
    sigma: Mapped[float]
    sensitivity: Mapped[float]


class Metric(Table, kw_only=True):
    """One figure with its interval; ``site`` may be ``*``, ``macro`` or ``worst``."""

    __tablename__ = "metrics"
    round: Mapped[int] = mapped_column(primary_key=True)
    window: Mapped[str] = mapped_column(primary_key=True, default="")
    site: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True, default="global")
    data_site: Mapped[str] = mapped_column(primary_key=True, default="")
    split: Mapped[str] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float | None]
    lo: Mapped[float | None]
    hi: Mapped[float | None]
    n: Mapped[float | None]
    method: Mapped[str]


class Shift(Table, kw_only=True):
    """One statistic of one channel of one site in one window."""

    __tablename__ = "shifts"
    window: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    statistic: Mapped[float]
    z: Mapped[float | None]
    p: Mapped[float | None]
    cusum: Mapped[float | None]
    threshold: Mapped[float | None]


class Alarm(Table, kw_only=True):
    """One alarm and what it probably means."""

    __tablename__ = "alarms"
    window: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    since_window: Mapped[str]
    posterior: Mapped[float | None]
    evidence: Mapped[str]


class Action(Table, kw_only=True):
    """One action that was proposed, who decided and what came of it."""

    __tablename__ = "actions"
    round: Mapped[int] = mapped_column(primary_key=True)
    window: Mapped[str] = mapped_column(primary_key=True, default="")
    site: Mapped[str] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(primary_key=True)
    parameters_json: Mapped[str]
    reason: Mapped[str]
    decided_by: Mapped[str]
    decision: Mapped[str]
    effect: Mapped[str]


class Release(Table, kw_only=True):
    """One decision about one model."""

    __tablename__ = "releases"
    round: Mapped[int] = mapped_column(primary_key=True)
    model_digest: Mapped[str] = mapped_column(primary_key=True)
    decision: Mapped[str]
    by: Mapped[str]
    reasons_json: Mapped[str]
    signature: Mapped[str]


class Spent(Table, kw_only=True):
    """One privacy event of one site; ``epsilon`` is the stream's total after it."""

    __tablename__ = "privacy"
    round: Mapped[int] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    stream: Mapped[str] = mapped_column(primary_key=True)
    mechanism: Mapped[str] = mapped_column(primary_key=True)
    sigma: Mapped[float]
    q: Mapped[float]
    steps: Mapped[int]
    epsilon: Mapped[float | None]
    delta: Mapped[float | None]


class Event(Table, kw_only=True):
    """One line of the run's history; only ever added."""

    __tablename__ = "events"
    seq: Mapped[int | None] = mapped_column(primary_key=True, autoincrement=True, default=None)
    time: Mapped[str]
    kind: Mapped[str]
    round: Mapped[int] = mapped_column(default=0)
    site: Mapped[str] = mapped_column(default="")
    detail_json: Mapped[str] = mapped_column(default="{}")
