"""The command `aqa`: it finds the subcommand, runs it, and says in one sentence what the user can mend.

A subcommand is a module with `configure(parser)` and `run(args)`; it is imported only when it was asked for,
so that `aqa doctor` does not wait for torch.
"""

import argparse
import importlib
import os
import sys

from aqa_lib import __version__
from aqa_lib.errors import UserError, choose, nearest

COMMANDS = {
    "study": ("aqa_lib.commands.study", "run the notebooks of a study and write its report"),
    "runs": ("aqa_lib.commands.runs", "list, filter, compare and delete the runs of the ledger"),
    "predict": ("aqa_lib.commands.predict", "score the items of a data set by trained runs"),
    "report": ("aqa_lib.commands.report", "write the report of a study again"),
    "data": ("aqa_lib.commands.data", "count what a data set on disk holds, beside what was published"),
    "check-method": ("aqa_lib.commands.check_method", "put a method's file to the checks that every method passes"),
    "bench": ("aqa_lib.commands.bench", "measure what a stack of runs saves"),
    "doctor": ("aqa_lib.commands.doctor", "say what works on this machine, and what to do about the rest"),
}


class WrongArguments(UserError):
    """Arguments that a subcommand does not take; the sentence begins with its name, "aqa study: "."""


class Parser(argparse.ArgumentParser):
    """argparse that answers with one sentence instead of a page."""

    def error(self, message):
        flags = [flag for action in self._actions for flag in action.option_strings]
        if message.startswith("unrecognized arguments: -"):
            first = message.split(": ", 1)[1].split()[0].split("=")[0]
            message = f"unknown option {first!r}{nearest(first, flags)}"
        raise WrongArguments(f"{self.prog}: {message}")


def overview():
    """What `aqa` alone prints."""
    lines = ["usage: aqa COMMAND ...", "", "A study of action quality assessment.", ""]
    lines += [f"  {name:12} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(lines + ["", "aqa COMMAND --help says more."])


def parse(argv):
    """The subcommand's module and its parsed arguments."""
    name, *rest = argv
    if name.startswith("-"):
        raise UserError(f"unknown option {name!r}{nearest(name, ['--help', '--version'])}")
    choose("command", name, COMMANDS)
    path, text = COMMANDS[name]
    module = importlib.import_module(path)
    parser = Parser(prog=f"aqa {name}", description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    module.configure(parser)
    return module, parser.parse_args(rest)


def main(argv=None):
    """Run one command line; returns 0 done, 1 something failed, 2 bad input, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if argv[0] == "--version":
        print(f"aqa {__version__}")
        return 0
    try:
        module, args = parse(argv)
        return module.run(args) or 0
    except WrongArguments as error:
        print(error, file=sys.stderr)
        return 2
    except UserError as error:
        print(f"aqa: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "aqa: interrupted; what is finished is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # `aqa runs | head`: the reader has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
