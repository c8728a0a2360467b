"""`python -m api.openapi --write` writes docs/openapi.json; a test fails when it drifts."""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from api.app import create_app

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def written() -> str:
    """Return the document as it is committed."""
    return json.dumps(create_app().openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Write the document, or say whether the committed one has drifted."""
    parser = argparse.ArgumentParser(prog="python -m api.openapi", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PATH.name}")
    if parser.parse_args().write:
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(written(), encoding="utf-8")
        return 0
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == written():
        return 0
    sys.stderr.write("docs/openapi.json has drifted: run python -m api.openapi --write\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
