"""Stops the emulators that these tools started; with PORT= only the one on that port."""

from argparse import Namespace

from devtools import ui
from devtools.local import emulator


def main(arguments: Namespace) -> None:
    """Stop them, and say which."""
    ports = [arguments.port] if arguments.port else emulator.started_ports()
    stopped = [number for number in ports if emulator.stop(number)]
    for number in stopped:
        ui.done(f"stopped the emulator on port {number}")
    if not stopped:
        ui.console.print("  nothing of ours is running")
