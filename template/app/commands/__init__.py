"""`api-admin`, the service's command line.

Every module of this package that has a `typer.Typer` named `app` takes part: one made
with a name (`typer.Typer(name="db")`) is a group of commands, one made without puts its
commands on the top level. To add your own, drop a file in here.

Commands import what they work with inside their functions: `api-admin --help` and the
completion of a shell stay quick, because they load neither the web nor the database
libraries.

Exit codes: 0 done, 1 refused (one line on stderr says why), 2 wrong usage.
"""

from importlib import import_module
from pkgutil import iter_modules

import typer

from app.commands.console import hint
from app.commands.refusals import RefusingGroup

app = typer.Typer(
    cls=RefusingGroup,
    help="Run and look after the service.",
    epilog="""[bold]Examples[/bold]

  api-admin serve --reload        develop
  api-admin user create --admin   add the first admin
  api-admin db --help             see the commands of a group""",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def discover(parent: typer.Typer) -> None:
    """Add the commands of all modules of this package to `parent`."""
    for module in iter_modules(__path__):
        try:
            commands = getattr(import_module(f"{__name__}.{module.name}"), "app", None)
        except SyntaxError as error:
            # A conflict of an update, say, which `api-admin update --continue` names.
            hint(f"{error.filename}, line {error.lineno}, is no Python: left out")
            continue
        if isinstance(commands, typer.Typer):
            parent.add_typer(commands)


discover(app)


def main() -> None:
    """Run the command that `sys.argv` names, and exit with its code."""
    app(prog_name="api-admin")
