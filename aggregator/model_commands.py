"""The coordinator's commands by which results leave a run: model, card, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedrad.commands import AsJson, Quiet, emit, to_stderr

app = typer.Typer(rich_markup_mode=None)

Run = Annotated[
    Path, typer.Argument(help="The folder that a run was written to.", exists=True, file_okay=False)
]
Out = Annotated[Path, typer.Option(help="The folder to write, new or written by this before.")]
Home = Annotated[
    Path | None,
    typer.Option(
        envvar="FEDRAD_HOME", help="The coordinator's folder, whose key signs.", file_okay=False
    ),
]
Round = Annotated[
    int | None, typer.Option("--round", help="Its model; absent: the promoted, else the last.")
]


@app.command()
def model(  # noqa: PLR0913, PLR0917  # one parameter an option
    run: Run,
    out: Out,
    home: Home = None,
    number: Round = None,
    monai: Annotated[bool, typer.Option("--monai", help="Also as a MONAI bundle.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also as ONNX (extra onnx).")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's model: safetensors, task.toml and card, listed in SHA256SUMS and signed.

    Every further form is compared with the original on the same 100 images; one that differs
    by more than 1e-4 is an error (2). Ends with 1 if no round made a model.
    """
    from aggregator.model_out.folder import Wishes, as_text, table_of, write_model
    from aggregator.signing import key_of

    wishes = Wishes(monai=monai, onnx=onnx, round=number)
    written = write_model(run, out, wishes, key=key_of(home), say=to_stderr(quiet))
    emit(as_json, table_of(written), as_text(written))


@app.command()
def export(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="The folder; RUN/export if absent.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's tables as Parquet and CSV with a dictionary; hospitals are letters.

    With their names only where the contract says so.
    """
    from aggregator.export.tables import as_text, export_run

    found = export_run(run, out or run / "export", say=to_stderr(quiet))
    table = {"folder": str(found.folder), "rows": found.rows, "names": found.names}
    emit(as_json, table, as_text(found))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A model's folder.", exists=True, file_okay=False)],
    fingerprint: Annotated[
        str, typer.Option(help="The coordinator's key, as it was read out to you.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check a model's folder offline: every file, the signature, and whose it is.

    Ends with 5 if a file differs, with 4 if the signature is not that key's.
    """
    from fedrad.released import read_released, refuse_other_signer
    from fedrad.signatures import key_digest, spoken

    found = read_released(folder)
    if fingerprint:
        refuse_other_signer(found.signed_by, fingerprint)
    signer = spoken(key_digest(found.signed_by)) if found.signed_by else ""
    table = {"folder": str(folder), "model_digest": found.about.model_digest, "signed_by": signer}
    emit(as_json, table, f"every file is as listed; signed by {signer or 'nobody'}")
