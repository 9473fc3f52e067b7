"""Lists all commands, and turns an error into a sentence, a hint and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

import semcache
from semcache.cli.check import check
from semcache.cli.cost import app as cost
from semcache.cli.demo import demo
from semcache.cli.eval import evaluate
from semcache.cli.explain import explain
from semcache.cli.replay import replay
from semcache.cli.serve import serve
from semcache.cli.stats import stats
from semcache.cli.store import app as store
from semcache.cli.train import app as train
from semcache.cli.tune import tune
from semcache.errors import SemcacheError, SettingsError

app = typer.Typer(
    name="semcache",
    help="A semantic cache server for LLM traffic.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(demo)
app.command("eval")(evaluate)
app.command()(tune)
app.command()(replay)
app.command()(stats)
app.command()(explain)
app.command()(check)
app.add_typer(cost)
app.add_typer(store)
app.add_typer(train)


def _version(*, value: bool) -> None:
    if value:
        typer.echo(f"semcache {semcache.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version  # The option's callback has handled it.


def main() -> int:
    """Run one command and return the process's exit code.

    0: done; 1: failed; 2: wrong options or settings; 130: interrupted.
    """
    try:
        code = typer.main.get_command(app).main(prog_name="semcache", standalone_mode=False)
        sys.stdout.flush()  # A full disk raises here, where it is reported, and not while the interpreter ends.
    except typer.TyperException as error:  # A wrong option or argument.
        _report_usage(error)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"semcache: {problem}\n")
        return 2
    except SemcacheError as error:
        sys.stderr.write(f"semcache: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"  {error.hint}\n")
        return 1
    except BrokenPipeError:  # `semcache stats | head`
        _abandon_output()
        return 1
    except OSError as error:
        _abandon_output()
        about = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"semcache: {about}{error.strerror or error}.\n")
        return 1
    except Exception as error:  # noqa: BLE001 - a defect in semcache; the user gets one line to report
        where = traceback.extract_tb(error.__traceback__)[-1]
        sys.stderr.write(f"semcache: a defect: {type(error).__name__}: {error} ({where.filename}:{where.lineno})\n")
        sys.stderr.write("  Please report this line.\n")
        return 1
    return code if isinstance(code, int) else 0


def _report_usage(error: typer.TyperException) -> None:
    message = error.format_message()
    if message:  # It is empty if no command was given, since the help has been printed then.
        sys.stderr.write(f"semcache: {message}\n  `semcache --help` and `semcache COMMAND --help` list them.\n")


def _abandon_output() -> None:
    """Redirect standard output to nowhere, so that the interpreter doesn't try to write its buffer when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
