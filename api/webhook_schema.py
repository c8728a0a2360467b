"""`python -m api.webhook_schema --write` writes docs/webhooks.schema.json; a test sees a drift."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from api.webhook_events import EVENTS, Envelope

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "webhooks.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of every event: `$defs` of the parts, and `events` by partner."""
    data = {data for events in EVENTS.values() for data in events.values()}
    ordered = sorted(data, key=lambda each: each.__name__)
    refs, parts = msgspec.json.schema_components(
        [Envelope, *ordered], ref_template="#/$defs/{name}"
    )
    ref_of = dict(zip([Envelope, *ordered], refs, strict=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Webhooks that Caravan takes in",
        "$defs": parts,
        "events": {
            partner: {
                name: {
                    "allOf": [ref_of[Envelope]],
                    "properties": {"type": {"const": name}, "data": ref_of[each]},
                }
                for name, each in events.items()
            }
            for partner, events in EVENTS.items()
        },
    }


def written() -> str:
    """Return the document as it is committed."""
    return json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Write the document, or say whether the committed one has drifted."""
    parser = argparse.ArgumentParser(prog="python -m api.webhook_schema", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PATH.name}")
    if parser.parse_args().write:
        PATH.write_text(written(), encoding="utf-8")
        return 0
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == written():
        return 0
    sys.stderr.write("docs/webhooks.schema.json has drifted: run with --write\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
