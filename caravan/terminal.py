"""How the `caravan` command speaks: results on stdout, everything else on stderr."""

from typing import Annotated, Final, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from kit.settings import settings

BAD_USE: Final = 2

err = Console(stderr=True)
out = Console()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def fail(sentence: str, *, code: int = BAD_USE) -> NoReturn:
    """Print one sentence on stderr and exit."""
    err.print(f"caravan: {sentence}", style="red", markup=False, highlight=False)
    raise typer.Exit(code)


def check_settings() -> None:
    """Refuse an environment that cannot be meant, before any command runs."""
    try:
        settings()
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]  # what was set may be a password
        name = str(problem["loc"][0])
        variable = name if name.isupper() else f"CARAVAN_{name.upper()}"
        fail(f"{variable} is refused: {problem['msg'].removeprefix('Value error, ')}")
