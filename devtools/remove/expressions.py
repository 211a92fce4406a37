"""Cut within Python expressions: elements of lists, keys of dictionaries, operands, branches of choices."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from devtools.remove import spans
from devtools.remove.spans import Change, Source, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from devtools.remove.code import Code

type Dead = set[str]


def is_any(found: Iterable[bool]) -> bool:
    """Return whether any is true, after all of them were evaluated: each may cut."""
    return True in list(found)


class Expressions:
    """The expressions of a module while it is cut. `dead` are the names in scope that are dropped."""

    def __init__(self, code: Code, name: str, text: str) -> None:
        """Cut `text`, the module `name`."""
        self.code, self.name, self.text = code, name, text
        self.source = Source(text)
        self.cuts: list[Change] = []
        # Modules by the names under which this one imports them.
        self.aliases: dict[str, str] = {}
        self._by_type: dict[type[ast.AST], Callable[..., bool]] = {
            ast.Attribute: self._attribute,
            ast.Constant: self._constant,
            ast.JoinedStr: self._joined,
            ast.List: self._elements,
            ast.Set: self._elements,
            ast.Tuple: self._elements,
            ast.Dict: self._dict,
            ast.BinOp: self._operation,
            ast.BoolOp: self._boolean,
            ast.Compare: self._compare,
            ast.IfExp: self._choice,
            ast.Lambda: self._lambda,
            ast.Call: self._call,
            ast.ListComp: self._results,
            ast.SetComp: self._results,
            ast.GeneratorExp: self._results,
            ast.comprehension: self._comprehension,
        }

    def doomed(self, node: ast.AST, dead: Dead) -> bool:
        """Cut within an expression, and return whether it needs a removed name."""
        if isinstance(node, ast.Name):
            return node.id in dead
        if found := self._by_type.get(type(node)):
            return found(node, dead)
        parts = ast.expr | ast.comprehension | ast.keyword | ast.Slice
        return is_any(self.doomed(child, dead) for child in ast.iter_child_nodes(node) if isinstance(child, parts))

    def _lambda(self, node: ast.Lambda, dead: Dead) -> bool:
        return self.doomed(node.body, dead - {one.arg for one in node.args.args})

    def value(self, node: ast.expr, dead: Dead) -> bool:
        """Do the same with a value that has a name or is an argument: there a list, tuple or dictionary may be empty."""
        return self.doomed(node, dead) and not (isinstance(node, ast.List | ast.Tuple | ast.Dict) and self._is_emptied(node))

    def _is_emptied(self, node: ast.List | ast.Tuple | ast.Dict) -> bool:
        """Cut all elements of a list, tuple or dictionary of which none is left."""
        if self.text[self.source.of(node).start] not in "[({":
            return False
        self.cuts.append((Span(self.source.of(node).start + 1, self.source.of(node).end - 1), ""))
        return True

    def _attribute(self, node: ast.Attribute, dead: Dead) -> bool:
        if isinstance(node.value, ast.Name) and node.value.id not in dead:
            module = self.aliases.get(node.value.id, "")
            if module and (node.attr in self.code.dropped[module] or self.code.is_removed(f"{module}.{node.attr}")):
                return True
        return node.attr in self.code.attributes or self.doomed(node.value, dead)

    def _constant(self, node: ast.Constant, _dead: Dead) -> bool:
        if not isinstance(node.value, str):
            return False
        if "\n" in node.value and self.text.startswith('"""', self.source.of(node).start):
            self._cut_lines(node)
            return False
        return self.code.names.names_string(node.value)

    def _cut_lines(self, node: ast.Constant) -> None:
        """Cut the lines of a table of cases, written as a text, that name something removed."""
        position, end = self.source.of(node)
        for line in self.text[position:end].splitlines(keepends=True):
            if self.code.names.names_line(line):
                self.cuts.append((Span(position, position + len(line)), ""))
            position += len(line)

    def _joined(self, node: ast.JoinedStr, dead: Dead) -> bool:
        text = "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
        values = [one.value for one in node.values if isinstance(one, ast.FormattedValue)]
        return self.code.names.names_string(text) or is_any(self.doomed(one, dead) for one in values)

    def _elements(self, node: ast.List | ast.Set | ast.Tuple, dead: Dead) -> bool:
        """Cut elements, and return whether none is left."""
        doomed = [one for one in node.elts if self.of_record(one, dead)]
        return self._cut_some(node, node.elts, doomed)

    def of_record(self, node: ast.expr, dead: Dead) -> bool:
        """Cut within an element of a list: a tuple there is a record, which cannot be without one of its fields."""
        if isinstance(node, ast.Tuple):
            return is_any(self.of_record(one, dead) for one in node.elts)
        return self.doomed(node, dead)

    def _dict(self, node: ast.Dict, dead: Dead) -> bool:
        pairs = [Pair(key, value) for key, value in zip(node.keys, node.values, strict=True)]
        doomed = [pair for pair in pairs if is_any(self._of_pair(pair, one, dead) for one in pair.nodes())]
        return self._cut_some(node, pairs, doomed)

    def _of_pair(self, pair: Pair, node: ast.expr, dead: Dead) -> bool:
        if pair.is_reference() and isinstance(node, ast.List):
            return is_any(self.doomed(one, dead) for one in node.elts)
        if isinstance(node, ast.List | ast.Dict):
            return self.value(node, dead)
        return self.of_record(node, dead)

    def _cut_some(self, node: ast.AST, elements: Sequence[ast.AST | Pair], doomed: Sequence[ast.AST | Pair]) -> bool:
        """Cut elements unless they are all; return whether they are."""
        if doomed and len(doomed) < len(elements):
            self.cut_elements(node, elements, doomed)
        return bool(doomed) and len(doomed) == len(elements)

    def _results(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, dead: Dead) -> bool:
        return is_any(found for found in (self.of_record(node.elt, dead), *(self.doomed(one, dead) for one in node.generators)))

    def _comprehension(self, node: ast.comprehension, dead: Dead) -> bool:
        """Cut the conditions of a comprehension."""
        before = node.iter
        for condition in node.ifs:
            if self.doomed(condition, dead):
                self.cuts.append((Span(self.source.wide(before).end, self.source.wide(condition).end), ""))
            before = condition
        return self.doomed(node.iter, dead)

    def _call(self, node: ast.Call, dead: Dead) -> bool:
        if self.doomed(node.func, dead):
            return True
        arguments: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
        doomed = [one for one in arguments if self.value(one.value if isinstance(one, ast.keyword) else one, dead)]
        spread = [one for one in doomed if isinstance(one, ast.Starred) or (isinstance(one, ast.keyword) and one.arg is None)]
        if spread and len(spread) == len(doomed) < len(arguments):
            self.cut_elements(node, arguments, spread)
            return False
        return bool(doomed)

    def _operation(self, node: ast.BinOp, dead: Dead) -> bool:
        if isinstance(node.op, ast.BitOr | ast.Add):
            return self._operands([node.left, node.right], dead)
        if isinstance(node.op, ast.Sub):
            left = self.doomed(node.left, dead)
            if not left and self.doomed(node.right, dead):
                self.cut_operand([node.left, node.right], node.right)
            return left
        return is_any(self.doomed(one, dead) for one in (node.left, node.right))

    def _boolean(self, node: ast.BoolOp, dead: Dead) -> bool:
        """Cut conditions of a conjunction; a disjunction without one of them says something else."""
        if isinstance(node.op, ast.And):
            return self._operands(node.values, dead)
        return is_any(self.doomed(one, dead) for one in node.values)

    def _operands(self, operands: Sequence[ast.expr], dead: Dead) -> bool:
        doomed = [one for one in operands if self.doomed(one, dead)]
        if len(doomed) < len(operands):
            for one in doomed:
                self.cut_operand(operands, one)
        return len(doomed) == len(operands)

    def cut_operand(self, operands: Sequence[ast.AST], one: ast.AST) -> None:
        """Cut an operand with the operator between it and its neighbour."""
        at = operands.index(one)
        if at + 1 < len(operands):
            span = Span(self.source.wide(one).start, self.source.wide(operands[at + 1]).start)
        else:
            span = Span(self.source.wide(operands[at - 1]).end, self.source.wide(one).end)
        self.cuts.append((span, ""))

    def _compare(self, node: ast.Compare, dead: Dead) -> bool:
        match node:
            case ast.Compare(left=ast.Tuple() as left, comparators=[ast.Tuple() as right]) if len(left.elts) == len(right.elts):
                return self.side_by_side(left, right, dead)
            case _:
                return is_any(self.doomed(one, dead) for one in (node.left, *node.comparators))

    def side_by_side(self, left: ast.Tuple, right: ast.Tuple, dead: Dead) -> bool:
        """Cut elements at the same places of two tuples, and return whether none is left."""
        pairs = list(zip(left.elts, right.elts, strict=True))
        doomed = [pair for pair in pairs if is_any(self.doomed(one, dead) for one in pair)]
        self._cut_some(right, right.elts, [one for _, one in doomed])
        return self._cut_some(left, left.elts, [one for one, _ in doomed])

    def _choice(self, node: ast.IfExp, dead: Dead) -> bool:
        """Put the other branch in place of a choice of which one is dropped."""
        mark = len(self.cuts)
        dropped = is_any(self.doomed(one, dead) for one in (node.test, node.body))
        if self.doomed(node.orelse, dead):
            return True
        if dropped:
            text = self.text_of(self.source.of(node.orelse), mark)
            self.cuts.append((self.source.of(node), text))
        return False

    def text_of(self, span: Span, mark: int) -> str:
        """Return a part of the text without the cuts since `mark`, and discard those cuts."""
        inner = [(Span(one.start - span.start, one.end - span.start), text) for one, text in self.cuts[mark:] if span.holds(one)]
        del self.cuts[mark:]
        return spans.applied(self.text[span.start : span.end], inner)

    def cut_elements(self, container: ast.AST, elements: Sequence[ast.AST | Pair], doomed: Iterable[ast.AST | Pair]) -> None:
        """Cut elements of a list, tuple, dictionary, call or import."""
        within = self.source.of(container.func).end + 1 if isinstance(container, ast.Call) else self.source.of(container).start + 1
        ranges = [one.span(self.source) if isinstance(one, Pair) else self.source.wide(one, within) for one in elements]
        cut = [elements.index(one) for one in doomed]
        self.cuts += self.source.elements(ranges, cut, is_tuple=isinstance(container, ast.Tuple))


class Pair:
    """A key of a dictionary with its value; without a key for `**values`."""

    def __init__(self, key: ast.expr | None, value: ast.expr) -> None:
        """Join a key and a value."""
        self._key, self._value = key, value

    def nodes(self) -> Iterator[ast.expr]:
        """Yield the key, if there is one, and the value."""
        yield from ([self._key] if self._key else [])
        yield self._value

    def is_reference(self) -> bool:
        """Return whether it is CloudFormation's reference to a resource, which has two parts."""
        return isinstance(self._key, ast.Constant) and bool(re.match(r"Fn::", str(self._key.value)))

    def span(self, source: Source) -> Span:
        """Return the place of key and value."""
        end = source.wide(self._value).end
        if self._key:
            return Span(source.wide(self._key).start, end)
        return Span(source.text.rindex("**", 0, source.of(self._value).start), end)
