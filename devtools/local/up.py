"""`make up`: bring the pipeline up without the demo's orders, or deploy the changes since."""

from argparse import Namespace

from devtools import target as targets
from devtools import ui
from devtools.local import bootstrap


def main(_: Namespace) -> None:
    """Start and deploy, and print the next steps."""
    target = bootstrap.bring_up(targets.from_environment())
    ui.console.print(
        f'\n  API  {target.api_url()}\n  token=$(make token), then curl -H "Authorization: Bearer $token" …/orders\n', highlight=False
    )
