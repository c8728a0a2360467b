"""The `caravan` command: everything a person types. Parsing and printing only."""

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.table import Table

import migrations
from caravan import demo as demonstration
from caravan import partners, planning
from caravan.addresses import Addresses, NoStack, database_url
from caravan.benches import bench_app
from caravan.stack import Stack, StackError
from caravan.terminal import Json, check_settings, err, fail, out
from groups import sessions
from kit.db import DatabaseDown, make_engine, transaction, use_engine
from kit.errors import CaravanError
from kit.servers.processes import ServerError
from kit.settings import settings
from operations import load_catalogue as loading
from operations.audit import audit as run_audit

Result = TypeVar("Result")

app = typer.Typer(
    name="caravan",
    help="Supply-chain and fulfilment orchestrator for group-buying shops.",
    callback=check_settings,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plan_app = typer.Typer(help="The optimizer alone, on a file; no database.", no_args_is_help=True)
db_app = typer.Typer(help="The database.", no_args_is_help=True)
token_app = typer.Typer(help="Tokens for people of operations.", no_args_is_help=True)
partner_app = typer.Typer(help="Other companies: where they are called.", no_args_is_help=True)
app.add_typer(plan_app, name="plan")
app.add_typer(db_app, name="db")
app.add_typer(token_app, name="token")
app.add_typer(partner_app, name="partner")
app.add_typer(bench_app, name="bench")


def with_database(act: Callable[[], Awaitable[Result]]) -> Result:
    """Run `act` with the configured or running stack's database."""

    async def run() -> Result:
        engine = make_engine(database_url(), pool_size=2, application="caravan-cli")
        use_engine(engine)
        try:
            return await act()
        finally:
            use_engine(None)
            await engine.dispose()

    try:
        return asyncio.run(run())
    except (NoStack, DatabaseDown) as error:
        fail(str(error))


@app.command()
def up(
    *,
    catalogue: Annotated[Path | None, typer.Option(help="Load this catalogue first.")] = None,
) -> None:
    """Run the whole stack until Ctrl-C."""
    if catalogue is not None:
        _read(catalogue)  # before anything is started
    try:
        stack = Stack(
            settings(),
            say=lambda sentence: err.print(f"· {sentence}", highlight=False),
            catalogue=catalogue,
        )
    except StackError as error:
        fail(str(error))
    stop = threading.Event()
    starting = threading.Event()
    starting.set()

    def interrupt(*_: object) -> None:
        stop.set()
        if starting.is_set():
            # Once only: a second Ctrl-C must not keep what was started from being stopped.
            starting.clear()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        addresses = stack.start()
        starting.clear()
    except KeyboardInterrupt:
        fail("interrupted while it was starting; everything is stopped", code=130)
    except loading.CatalogueInvalid as error:
        _refuse_catalogue(catalogue, error)
    except (StackError, ServerError, OSError) as error:
        fail(str(error))
    try:
        _show(addresses)
        stack.watch(stop)
    except (StackError, ServerError) as error:
        fail(str(error), code=1)
    finally:
        err.print("· stopping", highlight=False)
        stack.stop()


def _show(addresses: Addresses) -> None:
    table = Table(title="Caravan is running; Ctrl-C stops it", show_header=False)
    table.add_row("order API", f"{addresses.api_url}/docs")
    table.add_row("Prefect UI", addresses.prefect_ui_url)
    table.add_row("metrics", f"{addresses.api_url}/metrics")
    if addresses.sandbox_url:
        table.add_row("sandbox companies", f"{addresses.sandbox_url}/sandbox/state")
    table.add_row("operator token", "caravan token ops")
    out.print(table)


@app.command()
def demo(
    *,
    keep: Annotated[bool, typer.Option(help="Leave the stack running afterwards.")] = False,
    lines: Annotated[
        int | None, typer.Option(min=1, help="Replay only the first lines of the day.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start everything, load a catalogue, and replay a peak day of real order lines."""
    try:
        ok = demonstration.run(settings(), keep=keep, as_json=as_json, most_lines=lines)
    except (StackError, ServerError, OSError) as error:
        fail(str(error))
    except demonstration.DemoFailed as error:
        fail(str(error), code=1)
    if not ok:
        raise typer.Exit(1)


@app.command()
def replay(
    source: Annotated[
        Path | None, typer.Argument(help="Directory or CSV of order lines; default: the data dir.")
    ] = None,
    *,
    lines: Annotated[int | None, typer.Option(min=1, help="Only the first lines.")] = None,
    as_json: Json = False,
) -> None:
    """Replay order lines as group joins on the running stack, at a printed speed-up."""
    addresses = Addresses.read(settings().home)
    if addresses is None:
        fail(f"no stack runs in {settings().home}: start one with 'caravan up'")
    try:
        ok = demonstration.replay_on(
            addresses, settings(), source=source, as_json=as_json, most_lines=lines
        )
    except demonstration.DemoFailed as error:
        fail(str(error), code=1)
    if not ok:
        raise typer.Exit(1)


@app.command()
def load(
    file: Annotated[Path | None, typer.Argument(help="YAML or JSON.")] = None,
    *,
    schema: Annotated[bool, typer.Option(help="Print the JSON Schema of the file.")] = False,
) -> None:
    """Load a catalogue: products, warehouses, suppliers, agreements, campaigns."""
    if schema:
        sys.stdout.write(json.dumps(loading.schema(), indent=2, ensure_ascii=False) + "\n")
        return
    if file is None:
        fail("name a catalogue file, or ask for --schema")
    document = _read(file)
    try:
        report = with_database(lambda: loading.load_catalogue(document, name=str(file)))
    except loading.CatalogueInvalid as error:
        _refuse_catalogue(file, error)
    out.print(report.sentence, highlight=False)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def _refuse_catalogue(file: Path | None, error: loading.CatalogueInvalid) -> NoReturn:
    for problem in error.problems:
        err.print(str(problem), style="red", markup=False, highlight=False)
    fail(f"{file} was refused; nothing was changed")


@app.command()
def audit(*, as_json: Json = False) -> None:
    """Check every invariant of seats, money and goods; exit 1 on a violation."""
    report = with_database(run_audit)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report), default=str, ensure_ascii=False) + "\n")
    else:
        for found in report.violations:
            err.print(
                f"{found.invariant}  {found.row}  {found.detail}", style="red", highlight=False
            )
        out.print(
            f"{len(report.checked)} invariants checked, {len(report.violations)} violations",
            highlight=False,
        )
    if report.violations:
        raise typer.Exit(1)


@plan_app.command("procurement")
def plan_procurement(file: Path, *, as_json: Json = False, deadline: float = 60.0) -> None:
    """Plan tiered purchase orders for a problem file (schema p1/1)."""
    _print_plan(planning.procurement, file, as_json=as_json, deadline_seconds=deadline)


@plan_app.command("allocation")
def plan_allocation(file: Path, *, as_json: Json = False, deadline: float = 60.0) -> None:
    """Plan which warehouse ships which group, for a problem file (schema p2/1)."""
    _print_plan(planning.allocation, file, as_json=as_json, deadline_seconds=deadline)


def _print_plan(
    solve: Callable[..., dict[str, Any]], file: Path, *, as_json: bool, deadline_seconds: float
) -> None:
    try:
        answer = solve(file, deadline_seconds=deadline_seconds)
    except planning.BadProblem as error:
        fail(str(error))
    if as_json:
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    else:
        for line in planning.sentences(answer):
            out.print(line, highlight=False, markup=False)
    if answer["status"] == "infeasible":
        raise typer.Exit(1)


@db_app.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest schema."""
    try:
        migrations.upgrade(database_url())
    except (NoStack, OSError) as error:
        fail(str(error))


@token_app.command("ops")
def ops_token(
    name: Annotated[str, typer.Option(help="Who will act; it is kept with every act.")] = "ops",
) -> None:
    """Print a new operator token."""

    async def make() -> str:
        async with transaction() as session:
            return await sessions.ops_token(session, name)

    sys.stdout.write(with_database(make) + "\n")


@partner_app.command("set")
def set_partner(
    kind: Annotated[str, typer.Argument(help="suppliers, warehouses, carriers or shop")],
    code: str,
    *,
    url: Annotated[str, typer.Option(help="Where it is called, http or https.")],
    secret_file: Annotated[
        Path, typer.Option(help="File with the Standard Webhooks secret (whsec_...).")
    ],
    per_second: Annotated[float, typer.Option(min=0.1, help="Most calls a second.")] = 50.0,
) -> None:
    """Say where a partner is called and which secret both sides sign with.

    The secret it replaces stays good for incoming webhooks until the next change.
    """
    try:
        secret = secret_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read {secret_file}: {error}")
    try:
        with_database(
            lambda: partners.put(
                [
                    partners.Endpoint(
                        kind=kind, code=code, url=url, secret=secret, per_second=per_second
                    )
                ]
            )
        )
    except CaravanError as error:
        fail(str(error))


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
