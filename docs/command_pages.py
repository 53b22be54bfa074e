"""The list of all commands and options, made from their own help whenever the site is built."""

from collections.abc import Iterator

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from trainer.cli import cli as train
from verifier.cli import cli as verify

PAGE = "command_line.md"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Append every command's help to the page of the command line."""
    if page.file.src_uri != PAGE:
        return markdown
    return "\n\n".join([markdown, "## All commands and options", *help_texts()])


def help_texts() -> Iterator[str]:
    """A heading and the help text of each command."""
    for program, group in (("pgolf-verify", verify), ("pgolf-train", train)):
        yield from _help_below(
            group, click.Context(group, info_name=program, **group.context_settings)
        )


def _help_below(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = 84
    yield f"### `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                inner = click.Context(below, info_name=name, parent=context)
                yield from _help_below(below, inner)
