"""The documents: their commands exist, and their links lead to files and headings."""

import re
import shlex
from pathlib import Path

import pytest

from devtools.commands import COMMANDS, KINDS
from devtools.target import AWS, ROOT
from tests.integration.capabilities import LACKS
from tests.support.orders import COMMANDS as ORDER_COMMANDS
from tests.support.orders import STATES

README = ROOT / "README.md"
LIFE = ROOT / "docs" / "life.md"
DOCUMENTS = sorted([README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)) | set(COMMANDS)
# The variables of each target: those of commands, and those that the Makefile declares for its own targets.
VARIABLES = {name: {option.name for option in command.options} for name, command in COMMANDS.items()} | {
    target: set(names.split()) for target, names in re.findall(r"^override TAKES_(\S+) := (.*)", MAKEFILE, re.MULTILINE)
}


def commands(text: str) -> list[str]:
    """Return the make and sam commands of a document, from indented or fenced lines and from inline code."""
    blocks = re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    parts = [part.strip() for line in [*lines, *re.findall(r"`([^`\n]+)`", text)] for part in line.split("&&")]
    return [part for part in parts if re.match(r"(make|sam) ", part)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_commands_and_their_variables_exist(path: Path) -> None:
    for command in commands(path.read_text("utf-8")):
        if command.startswith("make "):
            words = shlex.split(command)[1:]
            targets = [word for word in words if "=" not in word]
            if targets[0] == "new":
                assert targets.pop() in KINDS, command
            given = [word.partition("=")[0] for word in words if "=" in word]
            assert set(targets) <= TARGETS, command
            assert all(set(given) <= VARIABLES.get(target, set()) for target in targets), command


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_sam_commands_and_their_events_exist(path: Path) -> None:
    for command in commands(path.read_text("utf-8")):
        if command.startswith("sam "):
            assert command.split()[1] in {"build", "deploy", "delete", "local", "sync"}, command
            for event in re.findall(r"\bevents/\S+", command):
                assert (ROOT / event).is_file(), command


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_arguments_with_patterns_are_quoted(path: Path) -> None:
    """Zsh, the shell of macOS, refuses an argument with an unquoted pattern that matches no file."""
    text = path.read_text("utf-8").replace("\\\n", " ")
    lines = [*re.findall(r"^(?: {4,}|\$ )(\S.*)$", text, re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)]
    shell = [line for line in lines if re.match(r"(make|sam|aws|curl|git|docker|uv|gh|python3?|\.venv/|\.ci/|--)", line)]
    assert [line for line in shell if re.search(r"[\[*?{]", re.sub(r"'[^']*'|\"[^\"]*\"", "", line))] == []


# The commands of docs/deploy.md that no test runs: they build, deploy or delete on AWS, or start what tests run in.
NOT_RUN = re.compile(r"make deploy.*|make up|make setup|make cost|make test BACKEND=aws .*|sam (build|deploy|delete).*")


def test_every_command_to_deploy_is_run_on_the_emulator() -> None:
    """tests/integration/test_first_order.py runs the others."""
    text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    listed = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    run = [line for line in listed if re.fullmatch(r"make .*STACK=order-pipeline-dev", line)]
    assert [line for line in listed if line not in run and not NOT_RUN.fullmatch(line)] == []
    assert "```sh" not in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_point_to_existing_files_and_headings(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", path.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "urn:")):
            linked = path.parent / target if target else path
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_capabilities_that_aws_lacks_are_listed_with_their_reason() -> None:
    text = (ROOT / "docs" / "fidelity.md").read_text("utf-8")
    section = text.partition("## Tests on AWS")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z -]+)`", section, re.MULTILINE)) == {*LACKS[AWS], "local issuer"}


def test_readme_shows_the_first_commands() -> None:
    assert {"make run", "make test", "make invoke"} <= set(commands(README.read_text("utf-8")))


def test_readme_states_the_sizes_that_make_prints() -> None:
    printed = re.findall(r"^override SIZE_\w+ := (\S+ GB) of disk and (\S+ GB) of memory$", MAKEFILE, re.MULTILINE)
    stated = re.findall(r"^\| `make .* \| (\S+ GB) \| (\S+ GB)[ ,]", README.read_text("utf-8"), re.MULTILINE)
    assert len(printed) == len(("run", "reports", "dev"))
    assert stated == printed


def test_life_of_an_order_counts_its_states_and_commands() -> None:
    counted = f"{len(STATES)} states and {len(ORDER_COMMANDS)} commands"
    assert counted in " ".join(LIFE.read_text("utf-8").split()), "run `make life`"


def test_readme_states_costs_and_import_time_of_the_performance_page() -> None:
    performance = (ROOT / "docs" / "performance.md").read_text("utf-8")
    placed, dev, prod = (
        re.findall(rf"^\| {figure} \| ([\d.]+) ", performance, re.MULTILINE)[0]
        for figure in ("placed to confirmed", "idle dev", "idle prod")
    )
    [ratio] = re.findall(r"The order API imports ([\d.]+)x faster", performance)
    text = " ".join(README.read_text("utf-8").split())
    [per_million] = re.findall(r"\$([\d.]+) per million confirmed orders", text)
    [(idle_dev, idle_prod)] = re.findall(r"\$(\d+) a month without orders \(\$(\d+) for prod\)", text)
    # A consumer that a team adds changes the page; the README follows at a tenth.
    assert float(per_million) == pytest.approx(float(placed), rel=0.1), "README.md: write the cost of docs/performance.md"
    assert float(idle_dev) == pytest.approx(float(dev), rel=0.1), "README.md: write the idle cost of docs/performance.md"
    assert float(idle_prod) == pytest.approx(float(prod), rel=0.1), "README.md: write the idle cost of docs/performance.md"
    assert f"import {ratio} times faster" in text


def test_performance_page_states_one_idle_cost_per_environment() -> None:
    performance = (ROOT / "docs" / "performance.md").read_text("utf-8")
    idle = performance.partition("## Without orders\n")[2]
    totals = re.findall(r"^\| total \|  \| ([\d.]+) \|  \| ([\d.]+) \|$", idle, re.MULTILINE)[0]
    assert re.findall(r"^\| idle (?:dev|prod) \| ([\d.]+) ", performance, re.MULTILINE) == list(totals), "run `make cost RECORD=1`"


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=lambda path: path.stem[:4])
def test_file_name_of_decision_is_its_number_and_title(path: Path) -> None:
    heading = re.match(r"# (\d+)\. (.+)\n", path.read_text("utf-8"))
    assert heading
    words = re.findall(r"[a-z0-9]+", heading[2].lower().replace("'", ""))
    assert path.stem == f"{int(heading[1]):04}-{'-'.join(words)}"


def test_decision_numbers_are_unique() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert sorted(set(numbers)) == sorted(numbers)
