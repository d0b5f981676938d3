"""`python -m mcpgw.bootstrap check | test`: what `./run` calls before there is a program to call."""

import sys
from collections.abc import Sequence

from mcpgw.bootstrap.checks import check
from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.progress import say
from mcpgw.bootstrap.testing import test

INTERRUPTED = 130


def main(words: Sequence[str]) -> int:
    """The exit code of the verb in `words`."""
    try:
        match words:
            case ["check"]:
                return 0 if check() else 1
            case ["test", *arguments]:
                return test(arguments)
            case _:
                say("usage: python -m mcpgw.bootstrap check | test [pytest's arguments]")
                return 2
    except BootstrapError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
