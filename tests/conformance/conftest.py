"""Runs every test on every target; a declared difference is asserted instead of AWS's documented behavior."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.conformance import targets
from tests.conformance.differences import declared
from tests.conformance.targets import EMULATOR, FAKE, NAMES, Target


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on every target; `not service` selects the in-memory AWS alone."""
    if "target" in metafunc.fixturenames:
        marks = {name: () if name == FAKE else pytest.mark.service for name in NAMES}
        metafunc.parametrize("target", [pytest.param(name, marks=marks[name]) for name in NAMES], indirect=True)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Yield the endpoint of an emulator that runs for this session."""
    with targets.emulated() as address:
        yield address


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """Yield one of the targets, with empty tables."""
    if request.param == FAKE:
        yield targets.fake()
    elif request.param == EMULATOR:
        yield targets.at(request.getfixturevalue("endpoint"))
    else:
        with targets.mocked() as moto:
            yield moto


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Pass a test with a declared difference only if it fails in the declared way."""
    target: Any = pyfuncitem.funcargs.get("target")
    difference = declared(name_of(pyfuncitem), target.name) if target else None
    if difference is None:
        return (yield)
    if difference.unsteady:
        pytest.skip(f"{difference.target}: {difference.does}")
    try:
        yield
    except (Exception, pytest.fail.Exception) as failure:
        if difference.shows not in f"{type(failure).__name__}: {failure}":
            raise
        return True
    pytest.fail(f"{difference.target} now behaves as AWS documents: remove {name_of(pyfuncitem)} from {difference}")


def name_of(item: pytest.Function) -> str:
    """Return a test's name with its case, without the target."""
    target = str(item.callspec.params["target"])
    case = item.callspec.id.removeprefix(f"{target}-").removesuffix(target).removesuffix("-")
    return f"{item.originalname}[{case}]" if case else item.originalname
