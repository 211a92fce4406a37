"""A function that does nothing: what Lambda itself costs."""


def handler(_event, _context):  # noqa: ANN001, ANN201 - not even types
    """Answer 201."""
    # On the emulator a silent function is slower than one that prints: every real one does.
    print("done")
    return {"statusCode": 201, "headers": {"content-type": "application/json"}, "body": "{}"}
