"""Options and arguments that mean the same in every command that has them."""

from typing import Annotated

import typer

Who = Annotated[
    str, typer.Argument(metavar="USER", help="The user's id or e-mail address.")
]
AsUser = Annotated[
    str | None,
    typer.Option("--user", metavar="USER", help="Ask as this user (id or e-mail)."),
]
Page = Annotated[int, typer.Option(min=1, max=2**31, help="Which page.")]
Size = Annotated[int, typer.Option(min=1, max=1000, help="Rows on a page.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Password = Annotated[
    str | None,
    typer.Option(
        help="The password. Other users of this machine can read it in the list of "
        "processes, and it stays in the shell's history: prefer --password-stdin.",
    ),
]
PasswordFromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin.")
]
