"""One edge for every command: errors become a sentence and an exit code.

``Program`` is a ``typer.Typer`` that is called by an entry point. A command prints its
result on stdout through ``emit``; progress and errors go to stderr. What the commands do is
written where they are defined.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import click
import typer

from fedrad.errors import FedradError

INTERRUPTED = 130
UNREACHABLE = 3

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing meanwhile but errors.")]


class Program(typer.Typer):
    """A command-line program whose ``--debug`` may stand anywhere on the line.

    Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 cannot reach, 4 refused by
    policy, 5 damaged state, 130 interrupted.
    """

    def __init__(
        self,
        *,
        help: str,  # noqa: A002  # typer's own name for it
        begin: Callable[[], None] | None = None,
    ) -> None:
        """Make a program; ``begin`` is called before any of its commands."""
        self._begin = begin
        super().__init__(
            help=help,
            rich_markup_mode=None,
            no_args_is_help=True,
            add_completion=True,  # --show-completion, --install-completion
            pretty_exceptions_enable=False,
        )
        self.callback()(_options_of_every_command)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program on ``args[0]``, or on the command line, and end the process.

        Raises:
            SystemExit: Always; carries the exit code.
            FedradError: With ``--debug`` only, like any other error.
        """
        line: Sequence[str] = args[0] if args else kwargs.get("args") or sys.argv[1:]
        words = [word for word in line if word != "--debug"]
        if self._begin is not None:
            self._begin()
        sys.exit(_run(_plain(typer.main.get_command(self)), words, debug=len(words) < len(line)))


def emit(as_json: bool, table: Mapping[str, Any], line: str) -> None:
    """Print one result on stdout: ``table`` as one JSON object, or ``line``."""
    typer.echo(json.dumps(table, ensure_ascii=False) if as_json else line)


def to_stderr(quiet: bool) -> Callable[[str], None]:
    """Return what long work tells its lines to: stderr, or nobody."""
    return (lambda _: None) if quiet else (lambda line: typer.echo(line, err=True))


def screen_columns() -> int:
    """Return the columns of the screen, between 80 and 120; 100 where there is none."""
    return min(120, max(80, shutil.get_terminal_size((100, 24)).columns))


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read an option such as ``120,300,80``; an empty text has no number.

    Raises:
        typer.BadParameter: A part is no whole number of 0 or more.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    wrong = [part for part in parts if not (part.isascii() and part.isdecimal())]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not a whole number; write 120,300,80")
    return tuple(map(int, parts))


def _options_of_every_command(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Declare what every command accepts; ``Program`` takes it off the line itself."""


class _Help(click.HelpFormatter):
    """Print brackets as they are: Typer escapes them for a markup that no program here uses."""

    def write_dl(self, rows: Iterable[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        """Write the options, or the commands, with what is said of each."""
        super().write_dl([(name, said.replace("\\[", "[")) for name, said in rows], *args, **kwargs)


class _Context(click.Context):
    formatter_class = _Help


def _plain(command: click.Command) -> click.Command:
    """Let a command, and all below it, print its help with ``_Help``."""
    command.context_class = _Context
    for below in getattr(command, "commands", {}).values():
        _plain(below)
    return command


def _run(command: click.Command, words: Sequence[str], *, debug: bool) -> int:
    try:
        result = command.main(args=list(words), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        result = INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return _say(error)
    if result == INTERRUPTED:  # Typer turns Ctrl-C into a result
        typer.echo("interrupted; what was finished stays readable", err=True)
    return result if isinstance(result, int) else 0


def _say(error: Exception) -> int:
    if isinstance(error, FedradError):
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, OSError):
        typer.echo(f"error: {_of_the_system(error)}", err=True)
        return UNREACHABLE if isinstance(error, ConnectionError) else 1
    kind = type(error).__name__
    typer.echo(f"error: an unexpected {kind}; the same command with --debug shows where", err=True)
    return 1


def _of_the_system(error: OSError) -> str:
    return ": ".join(str(part) for part in (error.filename, error.strerror) if part) or str(error)
