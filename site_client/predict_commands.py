"""The hospital's command that runs a model: predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedrad.commands import AsJson, Quiet, emit, to_stderr

app = typer.Typer(rich_markup_mode=None)


@app.command()
def predict(  # noqa: PLR0913, PLR0917  # one parameter an option
    study: Annotated[
        Path, typer.Argument(help="A folder with the DICOM files of one study.", metavar="STUDY")
    ],
    model: Annotated[
        Path, typer.Option(help="What fedrad-aggregator model wrote.", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="A new folder for what is written.")],
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="FEDRAD_HOME", help="The site's folder: whose signature counts.", file_okay=False
        ),
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Run a model that no known coordinator signed.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a model on one DICOM study, for research: DICOM SEG or a score with Grad-CAM.

    Writes into a folder and sends nothing. Ends with 4 if the model is not signed by the
    coordinator of site.toml, with 1 if no image of the study can be used.
    """
    from fedrad.released import read_released
    from site_client.predict.result import as_json as result_table
    from site_client.predict.run import Means
    from site_client.predict.run import predict as run
    from site_client.predict.trust import reading_of, refuse_unknown

    released = read_released(model)
    if not unsigned:
        refuse_unknown(released, home)
    means = Means(reading=reading_of(home), say=to_stderr(quiet))
    found = run(study, released, out, means)
    table: dict[str, Any] = result_table(found.result)
    where = {"folder": str(found.folder), "files": [str(path) for path in found.files]}
    lines = ["RESEARCH - NOT FOR CLINICAL USE", *map(str, found.files)]
    if found.result.probability is not None:
        lines.insert(1, f"{released.task.task.positive}: {found.result.probability:.3f}")
    emit(as_json, table | where, "\n".join(lines))
