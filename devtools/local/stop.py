"""Stops the emulators that these tools started; with PORT= only the one on that port."""

from devtools import cli, ui
from devtools import target as targets
from devtools.local import emulator


def main() -> None:
    """Stop them, and say which."""
    port = cli.option("PORT")
    ports = [targets.port_number(port)] if port else emulator.started_ports()
    stopped = [number for number in ports if emulator.stop(number)]
    for number in stopped:
        ui.done(f"stopped the emulator on port {number}")
    if not stopped:
        ui.console.print("  nothing of ours is running")


if __name__ == "__main__":
    cli.run(main)
