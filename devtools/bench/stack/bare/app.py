"""A function that does nothing, to measure Lambda itself."""  # noqa: INP001 - deployed by itself


def handler(_event: object, _context: object) -> dict[str, object]:
    """Answer 201."""
    # The emulator is slower with a function that prints nothing; every real one prints.
    print("done")
    return {"statusCode": 201, "headers": {"content-type": "application/json"}, "body": "{}"}
