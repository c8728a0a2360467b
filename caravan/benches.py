"""`caravan bench`: what a checkout can measure; the benches are no part of the package."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final

import typer

from caravan.terminal import Json, fail, out
from kit.servers.processes import ServerError

ROOT: Final = Path(__file__).resolve().parent.parent

bench_app = typer.Typer(help="Measurements; they start servers of their own.", no_args_is_help=True)


class NoBench(RuntimeError):
    """There is nothing to measure with here; the message says where there is."""


def load(name: str, *, root: Path) -> ModuleType:
    """Import a bench of the checkout at `root`.

    Raises:
        NoBench: there is none; the package was installed without its sources.
    """
    if not (root / "bench" / f"{name}.py").is_file():
        raise NoBench(
            f"there is no bench/{name}.py in {root}: the benches are not part of the installed"
            " package, so clone Caravan and run this command in the clone"
        )
    if str(root) not in sys.path:
        sys.path.append(str(root))
    return importlib.import_module(f"bench.{name}")


@bench_app.callback()
def _group() -> None:
    """Keep `join` a command of its own while it is the only one."""


@bench_app.command("join")
def join(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each of the six phases.")] = 5.0,
    connections: Annotated[int, typer.Option(min=1, help="Requests under way at a time.")] = 256,
    as_json: Json = False,
) -> None:
    """Measure how fast one hot SKU is joined over HTTP, beside a row lock per order."""
    try:
        figures: dict[str, Any] = load("join", root=ROOT).run(
            seconds=seconds, connections=connections
        )
    except (NoBench, ServerError, OSError) as error:
        fail(str(error))
    if as_json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    for name, value in figures.items():
        out.print(f"{name:28} {value}", highlight=False, markup=False)
