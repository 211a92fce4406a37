"""`make template`: cfn-lint on the templates as written, and on template.yaml as SAM expands it.

Linters do not check the properties of AWS::Serverless::Function, for instance Runtime.
"""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from samtranslator.model.exceptions import InvalidDocumentException  # pyright: ignore[reportMissingTypeStubs]

from devtools import cli, target, template


def write_translated() -> Path:
    """Write the expanded template for linters; return its path. Raises UserError when SAM rejects the template."""
    folder = target.local_folder() / "lint"
    folder.mkdir(exist_ok=True)
    path = folder / "translated.json"
    try:
        document = template.translated()
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes)
        raise cli.UserError(f"template.yaml: {causes}") from error
    path.write_text(json.dumps(document, indent=1, default=str))
    return path


def main(_: Namespace) -> int:
    """Lint the three files; return cfn-lint's exit code."""
    linter = Path(sys.executable).parent / "cfn-lint"
    files = [
        target.ROOT / "template.yaml",
        write_translated(),
        target.ROOT / "observability.yaml",
        target.ROOT / "schemas" / "registry.yaml",
    ]
    return subprocess.run([linter, *files], cwd=target.ROOT, check=False).returncode
