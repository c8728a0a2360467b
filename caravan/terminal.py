"""How the `caravan` command speaks: results on stdout, everything else on stderr."""

from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

BAD_USE: Final = 2

err = Console(stderr=True)
out = Console()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def fail(sentence: str, *, code: int = BAD_USE) -> NoReturn:
    """Print one sentence on stderr and exit."""
    err.print(f"caravan: {sentence}", style="red", markup=False, highlight=False)
    raise typer.Exit(code)
