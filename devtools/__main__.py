"""`python -m devtools COMMAND`: runs a command of `devtools.commands`; without one, lists them."""

import sys
from importlib import import_module
from pathlib import Path

from devtools import commands, manual, options

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the command that the first word names, or print the manual."""
    name, *words = sys.argv[1:] or ["help"]
    if name in ("help", "--help", "-h"):
        manual.main(words)
        return
    command = commands.COMMANDS.get(name)
    if command is None or not command.module:
        options.refuse(f"unknown command {name!r}: `make help-all` lists them")
    sys.path.insert(0, str(ROOT / "functions"))
    from devtools import cli  # noqa: PLC0415 - help works before the environments exist

    cli.run(name, import_module(command.module).main, words)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # While the command was being imported.
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
