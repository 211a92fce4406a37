"""Stop the emulators that these tools started, or the one on PORT alone."""

from argparse import Namespace

from devtools import ui
from devtools.local import emulator


def main(arguments: Namespace) -> None:
    """Stop them and print which."""
    ports = [arguments.port] if arguments.port else emulator.started_ports()
    stopped = [number for number in ports if emulator.stop(number)]
    for number in stopped:
        ui.done(f"stopped the emulator on port {number}")
    if not stopped:
        ui.console.print("  no emulator of these tools is running")
