"""Splits an expression into tokens, and refuses reserved words."""

from __future__ import annotations

import re
from functools import cache

from tests.fakes.aws.dynamodb.expressions.syntax import ExpressionError

_TOKEN = re.compile(
    r"\s*(?:(?P<index>\d+)|(?P<word>[A-Za-z][A-Za-z0-9_]*)|(?P<name>#[A-Za-z0-9_]+)"
    r"|(?P<value>:[A-Za-z0-9_]+)|(?P<sign><>|<=|>=|[=<>+\-(),.\[\]]))"
)

# Those of DynamoDB's 573 reserved words that could name something in an order pipeline.
RESERVED = frozenset(
    """
    action all and array attribute auth between binary boolean bucket by capacity case comment commit condition
    connection count counter create current cursor data database date datetime day default delete duration each
    element empty end error exception execute exists expression fail file filter first float for format found free
    from full function group handler hash hidden hold hour identity if in index input interval item items key keys
    language last left length level limit lines list load local location lock log map match max member method
    metrics min minute mode month name names new next no none not null number object of offset old on online open
    operator or order other out output owner parameter parameters partition path percent permission plan position
    primary prior private processed property public put query range rank read reads record ref reference region
    release replace request reset resource response restore result return right role roles row rows rule rules
    scan schema scope search second section segment select sequence session set shard share short signal size
    source space split start state statistics status storage store stored stream string sum system table text time
    timestamp timezone to token total transaction trigger ttl type unique unit unknown until update url user users
    uuid value values view void wait when where window with work write year zone
    """.split()  # noqa: SIM905 - one line a word would be longer than the parser
)


@cache
def tokens(text: str) -> tuple[tuple[str, str], ...]:
    """Return the kind and the text of each token, the last one of the kind `end`; raise ExpressionError for a stray character."""
    found_tokens: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise ExpressionError(f'Syntax error; token: "{text[position:].strip()[:1]}"')
        found_tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return (*found_tokens, ("end", "<EOF>"))
