"""Cut one Python module: its imports, definitions and statements."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, TypeGuard

from devtools.remove import spans
from devtools.remove.expressions import Dead, Expressions, is_any
from devtools.remove.spans import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from devtools.remove.code import Code

# Calls without an effect.
PURE = frozenset({"isinstance", "len", "any", "all", "startswith", "endswith", "get", "items", "set"})

type Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(Expressions):
    """One module while it is cut. `emptied` says that only imports are left of it, or no test of a test module."""

    def __init__(self, code: Code, name: str, text: str) -> None:
        """Cut `text`, the module `name`."""
        super().__init__(code, name, text)
        self._tree = ast.parse(text)
        self._is_test = name.startswith("tests.")
        self.emptied = False
        self._statements: dict[type[ast.stmt], Callable[..., bool]] = {
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.If: self._if,
            ast.For: self._for,
            ast.While: self._while,
            ast.With: self._with,
            ast.Try: self._try,
            ast.Return: self._return,
            ast.Match: self._match,
        }

    def cut(self) -> str:
        """Return the text without references to removed parts."""
        dead = set(self.code.dropped[self.name])
        doomed = self._body(self._tree.body, dead)
        self.code.dropped[self.name] |= dead
        self.emptied = bool(doomed) and not any(self._matters(node) for node in self._tree.body if node not in doomed)
        return spans.applied(self.text, self.cuts)

    def _matters(self, node: ast.stmt) -> bool:
        if self.name.rpartition(".")[2].startswith("test_"):
            return isinstance(node, ast.ClassDef) or (is_function(node) and node.name.startswith("test"))
        return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign)

    def _body(self, body: Sequence[ast.stmt], dead: Dead) -> list[ast.stmt]:
        """Cut statements, and return those that are cut whole."""
        doomed = [node for node in body if self._statement(node, dead)]
        self.cuts += [(self.source.statement(node), "") for node in doomed]
        return doomed

    def _all(self, body: Sequence[ast.stmt], dead: Dead) -> bool:
        """Cut statements, and return whether nothing is left; then the statement around them is to be cut."""
        mark = len(self.cuts)
        doomed = self._body(body, dead)
        is_left = any(node not in doomed and not _says_nothing(node) for node in body)
        if doomed and not is_left:
            del self.cuts[mark:]
        return bool(doomed) and not is_left

    def _statement(self, node: ast.stmt, dead: Dead) -> bool:
        """Cut within a statement, and return whether it is to be cut whole."""
        is_top = node in self._tree.body
        if (is_top and set(defined(node)) & dead) or (is_function(node) and not is_top and node.name in self.code.attributes):
            return True
        if found := self._statements.get(type(node)):
            return found(node, dead)
        return is_any(self.doomed(child, dead) for child in ast.iter_child_nodes(node))

    def _import(self, node: ast.Import | ast.ImportFrom, dead: Dead) -> bool:
        base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        doomed = list[ast.alias]()
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if self.code.is_removed(f"{base}{alias.name}") or (base and alias.name in self.code.dropped[base[:-1]]):
                doomed.append(alias)
                dead.add(bound)
            else:
                self.aliases[bound] = f"{base}{alias.name}" if base or alias.asname else bound
        if len(doomed) == len(node.names):
            return True
        self.cut_elements(node, node.names, doomed)
        return False

    def _for(self, node: ast.For, dead: Dead) -> bool:
        return self.doomed(node.iter, dead) or self._all(node.body, dead)

    def _while(self, node: ast.While, dead: Dead) -> bool:
        return self.doomed(node.test, dead) or self._all(node.body, dead)

    def _with(self, node: ast.With, dead: Dead) -> bool:
        return is_any(self.doomed(item.context_expr, dead) for item in node.items) or self._all(node.body, dead)

    def _assign(self, node: ast.Assign, dead: Dead) -> bool:
        targets, value = node.targets, node.value
        match targets, value:
            case [ast.Tuple() as left], ast.Tuple() as right if len(left.elts) == len(right.elts):
                dead.update(
                    name for target, one in zip(left.elts, right.elts, strict=True) if self.doomed(one, dead) for name in _targets([target])
                )
                return self.side_by_side(left, right, dead)
            case _:
                pass
        if self.value(value, dead) or is_any(self.doomed(one, dead) for one in targets if not isinstance(one, ast.Name)):
            self._forget(targets, dead)
            return True
        dead.difference_update(_targets(targets))
        return False

    def _annotated(self, node: ast.AnnAssign, dead: Dead) -> bool:
        if (node.value is not None and self.value(node.value, dead)) or self.doomed(node.annotation, dead):
            self._forget([node.target], dead)
            return True
        return False

    def _forget(self, targets: Sequence[ast.expr], dead: Dead) -> None:
        """Mark names as dropped, and attributes of objects that are set nowhere else."""
        dead.update(_targets(targets))
        for target in targets:
            for one in ast.walk(target):
                if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and not self.code.is_set(one.attr, but=self.name):
                    self.code.attributes.add(one.attr)

    def _function(self, node: Function, dead: Dead) -> bool:
        mark, arguments = len(self.cuts), node.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        header = [*node.decorator_list, *arguments.defaults, *filter(None, arguments.kw_defaults)]
        header += [one for one in (node.returns, *(one.annotation for one in parameters)) if one]
        doomed = self._lacks_fixture(parameters) or self._has_no_case(node, dead)
        doomed = doomed or is_any(self.doomed(one, dead) for one in header)
        inner = dead - {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
        if doomed or self._all(node.body, inner) or self._is_left_useless(node, mark):
            del self.cuts[mark:]
            dead.add(node.name)
            if any(ast.unparse(one).startswith("pytest.fixture") for one in node.decorator_list):
                self.code.fixtures.add(node.name)
            return True
        return False

    def _lacks_fixture(self, parameters: Iterable[ast.arg]) -> bool:
        """Return whether a test or fixture asks for a fixture that is dropped."""
        own = {node.name for node in self._tree.body if is_function(node)} - self.code.dropped[self.name]
        return self._is_test and any(one.arg in self.code.fixtures - own for one in parameters)

    def _has_no_case(self, node: Function, dead: Dead) -> bool:
        """Return whether no case of a parametrized test is left."""
        mark = len(self.cuts)
        calls = [one for one in node.decorator_list if isinstance(one, ast.Call) and ast.unparse(one.func).endswith("parametrize")]
        lists = [call.args[1] for call in calls if len(call.args) > 1]
        emptied = is_any(self.doomed(one, dead) for one in lists if isinstance(one, ast.List | ast.Tuple | ast.Set | ast.Dict))
        del self.cuts[mark:]
        return emptied

    def _is_left_useless(self, node: Function, mark: int) -> bool:
        """Cut local names that nothing uses any more; return whether a function lost its result, or a test all that it asserts."""
        if len(self.cuts) == mark:
            return False
        nodes = list(ast.walk(node))
        while unused := [one for one in nodes if isinstance(one, ast.Assign) and self._is_unused(one, nodes, mark)]:
            self.cuts += [(self.source.statement(one), "") for one in unused]
            self.cuts += [(self.source.statement(one), "") for one in nodes if self._is_emptied_block(one, mark)]
        if not any(self._is_left(one, mark) for one in node.body if not _says_nothing(one)):
            return True
        if node.name.startswith("test"):
            return not any(_asserts(one) and self._is_left(one, mark) for one in nodes)
        results = [one for one in _own(node) if isinstance(one, ast.Return | ast.Yield | ast.YieldFrom) and one.value]
        return bool(results) and not any(self._is_left(one, mark) for one in results)

    def _is_emptied_block(self, node: ast.AST, mark: int) -> TypeGuard[ast.stmt]:
        if not isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
            return False
        return self._is_left(node, mark) and not any(self._is_left(one, mark) for one in node.body)

    def _is_left(self, node: ast.AST, mark: int) -> bool:
        place = self.source.of(node)
        return not any(span.holds(place) for span, text in self.cuts[mark:] if not text)

    def _is_unused(self, node: ast.Assign, nodes: Iterable[ast.AST], mark: int) -> bool:
        if not self._is_left(node, mark) or not all(isinstance(one, ast.Name) for one in node.targets):
            return False
        names = set(_targets(node.targets))
        uses = [one for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and one.id in names]
        return bool(uses) and not any(self._is_left(one, mark) for one in uses)

    def _class(self, node: ast.ClassDef, dead: Dead) -> bool:
        mark, inner = len(self.cuts), set(dead)
        doomed = list[ast.stmt]()
        is_left = not is_any(self.doomed(one, dead) for one in (*node.bases, *node.decorator_list))
        if is_left:
            doomed = self._body(node.body, inner)
            is_left = not doomed or any(one not in doomed and not _says_nothing(one) for one in node.body)
        if not is_left:
            del self.cuts[mark:]
            dead.add(node.name)
            return True
        for name in (name for one in doomed for name in defined(one) or _declared(one)):
            if not name.startswith("__") and not self.code.is_set(name, but=self.name):
                self.code.attributes.add(name)
        return False

    def _return(self, node: ast.Return, dead: Dead) -> bool:
        return node.value is not None and self.of_record(node.value, dead)

    def _try(self, node: ast.Try, dead: Dead) -> bool:
        for body in (*(one.body for one in node.handlers), node.finalbody):
            self._body(body, dead)
        return self._all(node.body, dead)

    def _if(self, node: ast.If, dead: Dead) -> bool:
        mark = len(self.cuts)
        without_test = self.doomed(node.test, dead)
        dropped = without_test or self._all(node.body, dead)
        inner = len(self.cuts)
        if dropped and not without_test and not node.orelse and not self._is_test and _acts(node.test):
            # The condition does something itself: it remains as a statement.
            test = self.source.of(node.test)
            self.cuts.append((self.source.of(node), self.text[test.start : test.end]))
            return False
        if node.orelse and self._all(node.orelse, dead):
            self.cuts.append((Span(self.source.of(node.body[-1]).end, self.source.of(node).end), ""))
            return dropped
        if dropped and node.orelse:
            del self.cuts[mark:inner]
            self._replace_by_else(node, mark)
            return False
        return dropped

    def _replace_by_else(self, node: ast.If, mark: int) -> None:
        """Put the other branch in place of an `if` that is dropped."""
        first, whole = node.orelse[0], self.source.of(node)
        span = Span(self.source.line_start(self.source.of(first).start), whole.end)
        lines = self.text_of(span, mark).splitlines()
        if isinstance(first, ast.If) and first.col_offset == node.col_offset:
            lines[0] = re.sub(r"\belif\b", "if", lines[0], count=1)
        shift = first.col_offset - node.col_offset
        body = "\n".join(line[shift:] if line[:shift].isspace() else line for line in lines)
        self.cuts.append((Span(self.source.line_start(whole.start), whole.end), body))

    def _match(self, node: ast.Match, dead: Dead) -> bool:
        if self.doomed(node.subject, dead):
            return True
        doomed = [case for case in node.cases if self._case(case, dead)]
        for case in doomed:
            start = self.source.line_start(self.source.of(case.pattern).start)
            self.cuts.append((Span(start, self.source.next_line(self.source.of(case.body[-1]).end)), ""))
        return len(doomed) == len(node.cases)

    def _case(self, case: ast.match_case, dead: Dead) -> bool:
        return self._pattern(case.pattern, dead) or (case.guard is not None and self.doomed(case.guard, dead)) or self._all(case.body, dead)

    def _pattern(self, node: ast.pattern, dead: Dead) -> bool:
        if isinstance(node, ast.MatchOr):
            doomed = [one for one in node.patterns if self._pattern(one, dead)]
            if len(doomed) < len(node.patterns):
                for one in doomed:
                    self.cut_operand(node.patterns, one)
            return len(doomed) == len(node.patterns)
        return is_any(
            self._pattern(child, dead) if isinstance(child, ast.pattern) else self.doomed(child, dead)
            for child in ast.iter_child_nodes(node)
        )


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without the functions that it defines."""
    for child in ast.iter_child_nodes(node):
        if not is_function(child) and not isinstance(child, ast.Lambda):
            yield child
            yield from _own(child)


def _asserts(node: ast.AST) -> bool:
    """Return whether a node of a test asserts something, itself or by a helper."""
    helper = isinstance(node, ast.Call) and re.search(r"assert|raises|require", ast.unparse(node.func)) is not None
    return isinstance(node, ast.Assert) or helper


def _acts(test: ast.expr) -> bool:
    """Return whether a condition calls a function that may have an effect."""
    calls = [one.func for one in ast.walk(test) if isinstance(one, ast.Call)]
    return any(ast.unparse(one).rpartition(".")[2] not in PURE for one in calls)


def is_function(node: ast.AST) -> TypeGuard[Function]:
    """Return whether a node defines a function."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return _targets(targets)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            return _targets([target])
        case _:
            return []


def _declared(node: ast.stmt) -> list[str]:
    return _targets([node.target]) if isinstance(node, ast.AnnAssign) else []


def _targets(targets: Iterable[ast.expr]) -> list[str]:
    return [one.id for target in targets for one in _stored(target)]


def _stored(target: ast.expr) -> Iterator[ast.Name]:
    yield from (one for one in ast.walk(target) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))


def _says_nothing(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring or `pass`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
