"""`pgolf-train data`: get, build and inspect token shards. Only commands print."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from trainer.errors import DataError

if TYPE_CHECKING:
    from trainer.data.build_request import BuildRequest

DirectoryPath = click.Path(file_okay=False, path_type=Path)
AnyPath = click.Path(path_type=Path)


class BuildOptions(TypedDict):
    """The command line of `data build`; None where an option was not given."""

    sources: tuple[Path, ...]
    corpus: str | None
    out: Path
    name: str | None
    val_docs: int | None
    val_source: Path | None
    vocab_size: int | None
    tokenizer: Path | None
    shard_tokens: int | None
    workers: int | None
    overwrite: bool
    case_ops: bool


@click.group("data")
def data() -> None:
    """Token shards: published ones, your own, and what is in a folder."""


@data.command()
@click.argument("sources", metavar="[SOURCE]...", nargs=-1, type=AnyPath)
@click.option("--corpus", metavar="NAME", help="A corpus that ships with pgolf, e.g. jargon.")
@click.option("--out", required=True, type=DirectoryPath, help="Where the data folder goes.")
@click.option("--name", help="Name of the data set; default: the first source's.")
@click.option("--val-docs", type=click.IntRange(1), help="The first N documents are validation.")
@click.option("--val", "val_source", type=AnyPath, help="Or: validation is what is in here.")
@click.option("--vocab-size", type=click.IntRange(1), help="Tokens to train; default 1024.")
@click.option("--tokenizer", type=AnyPath, help="Reuse this SentencePiece .model.")
@click.option("--shard-tokens", type=click.IntRange(1), help="Tokens a shard; default 100000000.")
@click.option("--workers", type=click.IntRange(1), help="Processes; default: one a core.")
@click.option("--overwrite", is_flag=True, help="Replace another build in OUT.")
@click.option("--case-ops", is_flag=True, help="Capital letters become operators, losslessly.")
def build(**options: Unpack[BuildOptions]) -> None:
    """Make shards, tokenizer and manifest from documents.

    SOURCE is a JSONL file ({"text": "..."} a line), a text file (one document), or a folder of
    .jsonl, .txt and .md files. Training documents that validation holds too are left out. Nothing
    is done when OUT already holds this build. With --case-ops a file beside the validation shards
    says how many bytes of the text each token stands for; train with CASEOPS_ENABLED=1.

    \b
    Examples:
      pgolf-train data build --corpus jargon --out data/demo
      pgolf-train data build docs.jsonl --val-docs 500 --vocab-size 4096 --out data/docs
      pgolf-train data build docs.jsonl --val-docs 500 --vocab-size 8192 --case-ops --out data/ops
      pgolf-train data build notes/ --val held_out/ --tokenizer old.model --out data/notes
    """  # noqa: D301 (click wants the \b)
    from trainer.data.build import build_dataset
    from trainer.data.describe import describe_build
    from trainer.data.progress import ProgressDisplay

    request = corpus_request(options) if options["corpus"] else documents_request(options)
    with ProgressDisplay() as progress:
        outcome = build_dataset(request, progress)
    click.echo(describe_build(request.out, outcome))


def corpus_request(options: BuildOptions) -> "BuildRequest":
    """A build of a shipped corpus, whose every byte is pinned."""
    from trainer.data.build_request import BuildRequest
    from trainer.data.documents import shipped_corpus

    corpus = shipped_corpus(options["corpus"] or "")
    allowed = {"corpus", "out", "workers", "overwrite"}
    if any(value for option, value in options.items() if option not in allowed):
        raise DataError("--corpus has its own documents, split and tokenizer; give only --out")
    return BuildRequest(
        sources=(corpus.train,),
        val_source=corpus.val,
        tokenizer=corpus.tokenizer,
        pinned_manifest=corpus.manifest,
        name=corpus.name,
        out=options["out"],
        workers=options["workers"] or 1,  # small: starting processes would take longer
        overwrite=options["overwrite"],
    )


def documents_request(options: BuildOptions) -> "BuildRequest":
    """A build of the user's own documents."""
    from trainer.data.build_request import PUBLISHED_SHARD_TOKENS, BuildRequest

    sources: tuple[Path, ...] = options["sources"]
    if not sources:
        raise DataError("nothing to build from; give SOURCE files or folders, or --corpus jargon")
    if bool(options["val_docs"]) == bool(options["val_source"]):
        raise DataError("say what validation is: either --val-docs N or --val SOURCE")
    name = options["name"] or sources[0].resolve().stem
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise DataError(f"--name {name!r}: use letters, digits, '_', '-' and '.' alone")
    return BuildRequest(
        sources=sources,
        val_docs=options["val_docs"] or 0,
        val_source=options["val_source"],
        vocab_size=options["vocab_size"],
        tokenizer=options["tokenizer"],
        shard_tokens=options["shard_tokens"] or PUBLISHED_SHARD_TOKENS,
        name=name,
        out=options["out"],
        workers=options["workers"] or os.cpu_count() or 1,
        overwrite=options["overwrite"],
        case_ops=options["case_ops"],
    )


class InspectOptions(TypedDict):
    """The command line of `data inspect`."""

    folder: Path
    tokenizer: Path | None
    output_format: str


@data.command("inspect")
@click.argument("folder", metavar="DIR", type=DirectoryPath)
@click.option("--tokenizer", type=AnyPath, help="Count bytes with this one; default: DIR's own.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="On stdout.",
)
def inspect_command(**options: Unpack[InspectOptions]) -> None:
    """Say what is in a folder of shards, and check it.

    Reads every token: counts, bytes, the manifest's hashes, documents that training and validation
    share, the first words of some documents. Exits with 2 when something is wrong.

    \b
    Examples:
      pgolf-train data inspect data/demo
      pgolf-train data inspect data/datasets/fineweb10B_sp1024 --format json
    """  # noqa: D301 (click wants the \b)
    from trainer.data.describe import datasets_as_json, describe_datasets
    from trainer.data.inspect_folder import inspect_folder
    from trainer.data.progress import ProgressDisplay

    with ProgressDisplay() as progress:
        reports = inspect_folder(options["folder"], options["tokenizer"], progress)
    as_json = options["output_format"] == "json"
    click.echo(datasets_as_json(reports) if as_json else describe_datasets(reports))
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        raise DataError(f"{options['folder']}: problems: {len(problems)}; the first: {problems[0]}")


class GetOptions(TypedDict):
    """The command line of `data get`."""

    variant: str
    train_shards: int
    repo: str
    out: Path


@data.command()
@click.argument("variant")
@click.option("--train-shards", type=click.IntRange(0), default=80, show_default=True)
@click.option(
    "--repo", default="willdepueoai/parameter-golf", show_default=True, help="On the Hub."
)
@click.option("--out", type=DirectoryPath, default="data", show_default=True)
def get(**options: Unpack[GetOptions]) -> None:
    """Download a published data set: sp1024, sp4096, sp8192 or byte260.

    Validation shards, the first training shards (200 MB each) and the tokenizer. Broken downloads
    are resumed, sound files are not fetched again. HF_ENDPOINT names a mirror of the Hub.

    \b
    Examples:
      pgolf-train data get sp1024
      pgolf-train data get sp8192 --train-shards 1 --repo kevclark/parameter-golf
    """  # noqa: D301 (click wants the \b)
    from trainer.data.progress import ProgressDisplay
    from trainer.data.published_sets import FetchRequest, fetch_published

    with ProgressDisplay() as progress:
        folder = fetch_published(FetchRequest(**options), progress)
    click.echo(f"ready: {folder}")
