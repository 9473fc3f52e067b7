"""All commands, and the one place where an error becomes a sentence, a hint and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import semcache
from semcache.cli.check import check
from semcache.cli.demo import demo
from semcache.cli.eval import evaluate
from semcache.cli.explain import explain
from semcache.cli.replay import replay
from semcache.cli.serve import serve
from semcache.cli.stats import stats
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
app.command()(replay)
app.command()(stats)
app.command()(explain)
app.command()(check)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"semcache {semcache.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    del version  # Its callback has done the work.


def main() -> int:
    """Run one command; the process's exit code: 0 done, 1 failed, 2 wrongly asked, 130 interrupted."""
    try:
        code = typer.main.get_command(app).main(prog_name="semcache", standalone_mode=False)
    except typer.TyperException as error:  # A wrong option or argument.
        sys.stderr.write(
            f"semcache: {error.format_message()}\n  `semcache --help` and `semcache COMMAND --help` list them.\n"
        )
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
        sys.stderr.close()
        return 1
    return code if isinstance(code, int) else 0
