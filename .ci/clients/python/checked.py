"""What the scripts share: saying what was wrong, and what was done.

Each is called with the address of a server as its only argument, redis://host:port, uses a client
as an application would, and compares what it reads back. The first difference ends it.
"""

import sys
from importlib.metadata import version

url = sys.argv[1]


def same(what, got, expected):
    """Ends the script unless both are equal."""
    if got != expected:
        sys.exit(f"{what}: expected {expected!r}, got {got!r}")


def refused(what, error, call):
    """Ends the script unless the call raises this error; gives its text."""
    try:
        got = call()
    except error as raised:
        return str(raised)
    sys.exit(f"{what}: expected {error.__name__}, got {got!r}")


def done(name, package, what):
    """The row of the table."""
    print(f"{name} | {version(package)} | {what}")
