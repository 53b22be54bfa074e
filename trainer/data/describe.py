"""What the data commands say, as text."""

import json
from dataclasses import asdict
from pathlib import Path

from trainer.data.build import BuildOutcome
from trainer.data.inspect_folder import DatasetReport
from trainer.data.manifest import DroppedEntry


def describe_build(out: Path, outcome: BuildOutcome) -> str:
    """The summary that a build prints."""
    manifest = outcome.manifest
    title = "already built" if outcome.was_up_to_date else "built"
    lines = [f"{title}: {out / 'datasets' / manifest.inputs.name}"]
    for label, split in (("train", manifest.train), ("val", manifest.val)):
        lines.append(
            f"  {label:<10} {split.num_documents:,} documents, {split.num_tokens:,} tokens, "
            f"{split.num_bytes:,} bytes of text ({split.counted_bytes:,} counted), "
            f"shards: {len(split.shards)}"
        )
    tokenizer = manifest.tokenizer
    lines.append(f"  tokenizer  {out / tokenizer.path}, {tokenizer.vocab_size:,} tokens")
    lines += describe_dropped(manifest.dropped_from_train)
    return "\n".join(lines)


def describe_dropped(dropped: DroppedEntry) -> list[str]:
    """One line if anything was left out of training."""
    if not (dropped.exact or dropped.normalised):
        return []
    return [
        f"  left out   {dropped.exact} training documents that validation holds too, and "
        f"{dropped.normalised} that differ from one of its own in case and punctuation alone"
    ]


def describe_datasets(reports: list[DatasetReport]) -> str:
    """The text form of an inspection."""
    return "\n".join(line for report in reports for line in describe_dataset(report))


def describe_dataset(report: DatasetReport) -> list[str]:
    """One data set, a line a fact."""
    tokenizer = "unknown; name one with --tokenizer to count bytes and see text"
    if report.tokenizer is not None:
        tokenizer = f"{report.tokenizer}, {report.vocab_size:,} tokens"
    lines = [report.folder, f"  tokenizer  {tokenizer}", f"  manifest   {report.manifest}"]
    for split in report.splits:
        counted = "" if split.counted_bytes is None else f", {split.counted_bytes:,} bytes counted"
        lines.append(
            f"  {split.split:<10} {split.num_documents:,} documents, "
            f"{split.num_tokens:,} tokens{counted}, shards: {split.num_shards}"
        )
        lines += [f"    | {text}" for text in split.first_documents]
    lines.append(f"  overlap    {report.shared_documents:,} training documents are in validation")
    return lines + [f"  PROBLEM    {problem}" for problem in report.problems]


def datasets_as_json(reports: list[DatasetReport]) -> str:
    """One JSON object on one line."""
    return json.dumps({"schema_version": 1, "datasets": [asdict(report) for report in reports]})
