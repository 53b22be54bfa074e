"""What makes of the words on a command line a command: slips, completions, how shells are told."""

import difflib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from trainer.errors import RecipeError, StoppedError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

READER_WENT_AWAY = 141
"""What a shell calls a program that SIGPIPE ended, as the verifier does."""
NEARLY_A_COMMAND = 0.7  # of its letters, by which a slip is told from a recipe's name


def recipe_completions(
    ctx: click.Context, parameter: click.Parameter | None, incomplete: str
) -> list["CompletionItem"]:
    """What a shell offers for the beginning of a recipe's name."""
    from click.shell_completion import CompletionItem

    from trainer.recipe_file import recipe_names

    return [CompletionItem(name) for name in recipe_names() if name.startswith(incomplete)]


@contextmanager
def ends_told_by_shells() -> Iterator[None]:
    """A reader that went away (`| head`) and Ctrl-C, before click would call both of them 1.

    Raises:
        StoppedError: the user said stop.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        sys.exit(READER_WENT_AWAY)
    except KeyboardInterrupt:
        raise StoppedError("stopped") from None


class RecipeIsACommand(click.Group):
    """`pgolf-train RECIPE …` means `pgolf-train train RECIPE …`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        with ends_told_by_shells():  # --help is printed here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with ends_told_by_shells():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.list_commands(ctx):
            refuse_slips(args[0], self.list_commands(ctx))
            args = ["train", *args]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list["CompletionItem"]:
        return recipe_completions(ctx, None, incomplete) + super().shell_complete(ctx, incomplete)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "data"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "data":
            from trainer.data_cli import data

            return data
        return super().get_command(ctx, cmd_name)


def refuse_slips(word: str, commands: list[str]) -> None:
    """See to it that a command with a wrong letter is not taken for a recipe.

    Raises:
        RecipeError: it is nearly a command, and no recipe.
    """
    from trainer.recipe_file import recipe_names

    near = difflib.get_close_matches(word, commands, n=1, cutoff=NEARLY_A_COMMAND)
    if near and word not in recipe_names():
        raise RecipeError(f"no command or recipe is called {word!r}; did you mean {near[0]}?")
