"""`make remove CONTEXT=loyalty`: removes a context with its functions, resources, samples, tests, alarms and documents."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devtools import template, ui, undo
from devtools.cli import UserError
from devtools.remove import code, names, pages, stack
from devtools.remove.names import CORE, PARTS, Names, Part
from devtools.target import ROOT

# Generators that read the template and the code; each runs in its own process, to import the remaining code.
GENERATORS = ("contracts", "openapi", "observability", "diagram")
# Files whose names of generated contexts are examples.
EXAMPLES = ("devtools/new/", "tests/unit/devtools/test_new.py", "tests/extension/test_new.py", "docs/extending.md")
WRITTEN = ("docs/events.md", "docs/life.md", "docs/resources.md", "docs/metrics.md", "CHANGELOG.md", "docs/decisions/")


def main(arguments: Namespace) -> int:
    """Remove one context or several, and print the removed resources and files.

    Raises:
        UserError: a context is unknown or needed, or the work tree has changes; nothing is removed then.
    """
    parts = [removable(ROOT, name.strip()) for name in arguments.context.split(",")]
    require_clean(ROOT)
    resources = template.source()["Resources"]
    with undo.restored_by_git(ROOT):
        removed = _remove_all(parts, resources)
    _report(removed, resources)
    return 0


def _remove_all(parts: list[Part], resources: dict[str, Any]) -> list[Names]:
    """Remove the parts, run the generators, and return the names that are removed."""
    left, removed = dict(resources), list[Names]()
    for part in parts:
        removed.append(remove(ROOT, part, left))
        left = {name: one for name, one in left.items() if name not in removed[-1].resources}
    tidy(ROOT)
    before = generated_names(ROOT)
    for generator in GENERATORS:
        run("python", "-m", "devtools", generator)
    for command in ("idle-cost", "cost"):
        subprocess.run(["make", command, "RECORD=1"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=_environment())
    dropped = before - generated_names(ROOT)
    for found in removed:
        found.strings |= dropped
        shorten_pages(ROOT, found)
    return removed


def removable(root: Path, name: str) -> Part:
    """Return the context or part that CONTEXT names. Raises UserError for another name, and for a context that every order needs."""
    contexts = sorted(path.parent.name for path in (root / "functions").glob("*/handlers"))
    optional = [one for one in contexts if one not in CORE]
    if name in CORE:
        raise UserError(f"{name} cannot be removed, every order needs it; CONTEXT is one of {', '.join(_names(optional, root))}")
    if name not in _names(optional, root):
        raise UserError(f"CONTEXT must be one of {', '.join(_names(optional, root))}, not {name!r}")
    return PARTS.get(name) or Part(name, (name,))


def _names(optional: Iterable[str], root: Path) -> list[str]:
    parts = [name for name, part in PARTS.items() if not part.is_context and _has_modules(root, part)]
    return sorted([*optional, *parts])


def _has_modules(root: Path, part: Part) -> bool:
    return all((root / "functions" / part.context / "handlers" / f"{name}.py").exists() for name in part.handlers)


def require_clean(root: Path) -> None:
    """Raise UserError where files differ from the last commit: `git restore .` must undo a removal, and nothing else."""
    state = subprocess.run(["git", "status", "--porcelain"], cwd=root, check=True, capture_output=True, text=True).stdout
    if state:
        first = state.splitlines()[0][3:]
        raise UserError(f"the work tree has changes ({first}): commit or stash them, so that git can show and undo the removal")


def remove(root: Path, part: Part, resources: dict[str, Any]) -> Names:
    """Remove files, resources and code, and return the names that are removed. The generators run afterwards."""
    text = (root / "template.yaml").read_text("utf-8")
    owned = stack.owned(text, resources, part)
    found = names.removed(part, resources, owned, _optional_settings(root))
    shorter = stack.without(text, found.ids, resources)
    _write(root / "template.yaml", shorter)
    commands = command_names(root)
    cut_code(root, found)
    for name in sorted(commands - command_names(root)):
        found.strings |= {name, f"make {name}", *cut_command(root, name)}
        cut_code(root, found)
    delete_files(root, found, resources)
    if part.is_context:
        _edit(root / "devtools" / "costs.toml", rf'(?m)^"{part.context}" = .*\n', "")
        _edit(root / "pyproject.toml", rf'"{part.context}", ', "")
        _edit(root / "functions" / "Makefile", rf"build-\w+%:\n\t\$\(call context,{part.context}\)\n\n?", "")
    return found


def command_names(root: Path) -> set[str]:
    """Return the names of the commands in devtools/commands.py."""
    return set(re.findall(r"^    Command\(\s*\"([\w-]+)\"", (root / "devtools" / "commands.py").read_text("utf-8"), re.MULTILINE))


def cut_command(root: Path, name: str) -> list[str]:
    """Cut a command from the lists of the Makefile, with the old names for it, and return those."""
    path = root / "Makefile"
    text = path.read_text("utf-8")
    old_names: list[str] = re.findall(rf"^(\S+): {name}$", text, re.MULTILINE)
    for old in old_names:
        text = re.sub(rf"^{old}: {name}\n", "", text, flags=re.MULTILINE)
        text = re.sub(rf"^(override OLD_(?:NAMES|COMMANDS) := .*?) ?\b{old}\b", r"\1", text, flags=re.MULTILINE)
    text = re.sub(rf"(override (?:OFFLINE_)?COMMANDS := (?:.*\\\n)*?.*?) {name}\b", r"\1", text)
    _write(path, text)
    return old_names


def cut_code(root: Path, found: Names) -> None:
    """Cut references to removed parts from Python files, and delete files of which nothing is left."""
    paths = code.modules(root, (name for name in _files(root, ".py") if not name.startswith(("layers/", *_examples(found.part)))))
    texts = {name: path.read_text("utf-8") for name, path in paths.items()}
    for name in texts:
        named = name.rpartition(".")[2].removeprefix("test_")
        is_of_context = found.part.is_context and found.part.context in (named, paths[name].parent.name)
        if is_of_context or PARTS.get(named) == found.part:
            found.modules.add(name)
    for name in [one for one in texts if found.has_module(one)]:
        paths[name].unlink()
        del texts[name]
    work = code.Code(found, dict(texts))
    work.cut()
    for name, text in work.texts.items():
        if name in work.files:
            paths[name].unlink()
            found.modules.add(name)
        elif text != texts[name]:
            _write(paths[name], text)


def delete_files(root: Path, found: Names, resources: dict[str, Any]) -> None:
    """Delete samples, workflows, and folders of which nothing is left."""
    part = found.part
    samples = [root / "events" / part.context] if part.is_context else [root / "events" / part.context / one for one in part.handlers]
    workflows = [
        root / resources[name]["Properties"]["DefinitionUri"]
        for name in found.resources
        if "DefinitionUri" in resources[name].get("Properties", {})
    ]
    for path in (
        *samples,
        *workflows,
        *([root / "functions" / part.context, root / "tests/unit" / part.context] if part.is_context else ()),
    ):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def shorten_pages(root: Path, found: Names) -> None:
    """Cut references to removed parts from pages."""
    for name in _files(root, ".md"):
        if not name.startswith((*WRITTEN, *_examples(found.part))):
            text = (root / name).read_text("utf-8")
            if (shorter := pages.without(text, found)) != text:
                _write(root / name, shorter)


def _examples(part: Part) -> tuple[str, ...]:
    """Return the files in which the name of a context is no reference to it: none for a context that the repository has."""
    return () if part in PARTS.values() else EXAMPLES


def generated_names(root: Path) -> set[str]:
    """Return the logical ids of the template of observability, and the codes of the API's problems."""
    ids = re.findall(r"^  (\w+):$", (root / "observability.yaml").read_text("utf-8"), re.MULTILINE)
    codes = re.findall(r"urn:order-pipeline:problem:([a-z-]+)", (root / "functions" / "orders" / "openapi.json").read_text("utf-8"))
    return {*ids, *codes}


def tidy(root: Path) -> None:
    """Have Ruff remove unused names from the changed files, and format them."""
    changed = subprocess.run(
        ["git", "diff", "--name-only", "--diff-filter=M", "*.py"], cwd=root, check=True, capture_output=True, text=True
    )
    if files := changed.stdout.split():
        subprocess.run([_tool("ruff"), "check", "--quiet", "--fix", "--unsafe-fixes", "--exit-zero", *files], cwd=root, check=True)
        subprocess.run([_tool("ruff"), "format", "--quiet", *files], cwd=root, check=True)


def _tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def run(tool: str, *words: str) -> None:
    """Run a tool of the environment in the repository."""
    subprocess.run([_tool(tool), *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _report(removed: list[Names], resources: dict[str, Any]) -> None:
    """Print the removed resources, the consequences for the data of a deployed stack, and the pages to read again."""
    changes = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    deleted = sum(line[1] == "D" for line in changes)
    dropped = sorted(set[str]().union(*(found.resources for found in removed)))
    ui.done("removed", f"{len(dropped)} resources, {deleted} files; git diff shows the changes of {len(changes) - deleted} others")
    for name in dropped:
        kind, policy = resources[name]["Type"].rpartition("::")[2].lower(), resources[name].get("DeletionPolicy", "")
        if policy:
            kept = policy.startswith("Retain")
            what = "stays with its data in a deployed stack; delete it yourself" if kept else "goes with its data at the next deployment"
            ui.done(name, f"this {kind} {what}")
    for name in _files(ROOT, ".md"):
        text = (ROOT / name).read_text("utf-8")
        described = [found for found in removed if not name.startswith(_examples(found.part))]
        lines = sorted({line for found in described for line in pages.mentions(text, found)})
        if lines and not name.startswith(WRITTEN):
            ui.done(name, f"read line {', '.join(map(str, lines))}: it may still describe the removed context")


def _files(root: Path, suffix: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", f"*{suffix}"], cwd=root, check=True, capture_output=True, text=True).stdout.split("\n")
    return [name for name in listed if name and (root / name).exists()]


def _optional_settings(root: Path) -> set[str]:
    """Return the optional variables of functions: code that reads them stays."""
    texts = (path.read_text("utf-8") for path in (root / "functions").rglob("*.py"))
    return {name for text in texts for name in re.findall(r"settings\.optional\w*\(\s*\"(\w+)\"", text)}


def _edit(path: Path, pattern: str, replacement: str) -> None:
    _write(path, re.sub(pattern, replacement, path.read_text("utf-8")))


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _environment() -> dict[str, str]:
    """Return the environment without the variables of the running make."""
    return {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MAKE_VARIABLES"}}
