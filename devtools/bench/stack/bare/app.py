"""A function that does nothing: what Lambda itself costs."""  # noqa: INP001 - deployed by itself


def handler(_event: object, _context: object) -> dict[str, object]:
    """Answer 201."""
    # On the emulator a silent function is slower than one that prints: every real one does.
    print("done")
    return {"statusCode": 201, "headers": {"content-type": "application/json"}, "body": "{}"}
