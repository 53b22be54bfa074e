"""Which documents are read side by side, when, and by which process.

A document is read chunk by chunk, each pass over a window that ends where the chunk does. Documents
of a batch go in step, so that a batch takes as many passes as its longest has chunks: documents of
like length stand together, the longest first, those that are over leave the batch, and batches are
dealt out by their cost.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile

import numpy as np

from trainer.recipe import BOS_ID, EvaluationOptions

# What a pass costs however little it sees, in tokens of a large one: on an H100 the public #1855
# takes 69 ms for any pass, and 0.24 s for one over 64 x 2,048 tokens.
PASS_COST_TOKENS = 50_000
FEWEST_DOCUMENTS = 2  # of a batch: compiled code treats one as another shape
STAYING_SHARE = 7 / 8  # of a batch's documents go on: any less, and those that are over leave it


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One document; its last target is the beginning of the next one."""

    start: int  # place of its first token
    num_targets: int


NO_DOCUMENT = Document(start=0, num_targets=0)
DocumentBatch = list[Document]


def find_documents(tokens: np.ndarray) -> list[Document]:
    """The documents of a token stream; what comes before the first BOS is one too."""
    begins = np.union1d([0], np.flatnonzero(tokens[:-1] == BOS_ID))
    ends = np.append(begins[1:], tokens.size - 1)
    return [
        Document(start=int(begin), num_targets=int(end - begin))
        for begin, end in zip(begins, ends, strict=True)
    ]


def chunks_from_the_start(options: EvaluationOptions) -> Iterator[range]:
    """The chunks of a document, as places in it, without end: how long it is does not matter."""
    steps = [tuple(map(int, s.split(":"))) for s in options.ttt_first_chunk_sizes.split(",") if s]
    first = 0
    while True:
        sizes = [size for place, size in steps if first < place]
        chunk = range(first, first + (sizes[0] if sizes else options.ttt_chunk_size))
        yield chunk
        first = chunk.stop


def chunks_of_length(num_targets: int, options: EvaluationOptions) -> Iterator[range]:
    """The chunks that it takes to score so many targets; the last may reach beyond them."""
    return takewhile(lambda chunk: chunk.start < num_targets, chunks_from_the_start(options))


def window_of(chunk: range, options: EvaluationOptions) -> range:
    """The places in a document that the pass over a chunk sees."""
    return range(max(chunk.stop - options.ttt_eval_seq_len, 0), chunk.stop)


def parts_between_phases(
    documents: list[Document], options: EvaluationOptions
) -> list[DocumentBatch]:
    """Documents, the longest first, in parts: after each but the last, all weights learn."""
    ordered = sorted(documents, key=lambda document: -document.num_targets)
    num_phases = options.phased_ttt_num_phases
    num_early = min(options.phased_ttt_prefix_docs, len(ordered))
    cuts = [num_early * (phase + 1) // num_phases for phase in range(num_phases)]
    parts = [ordered[start:end] for start, end in pairwise([0, *cuts, len(ordered)])]
    return [part for part in parts if part]


def dealt_batches(
    documents: list[Document],  # the longest first
    options: EvaluationOptions,
    num_processes: int,
) -> list[list[DocumentBatch]]:
    """The batches of each process: always the costliest one left to who has the least to do."""
    batches = batches_of(documents, options, num_processes)
    costs = [batch_cost(batch, options) for batch in batches]
    dealt: list[list[DocumentBatch]] = [[] for _ in range(num_processes)]
    loads = [0] * num_processes
    for index in sorted(range(len(batches)), key=lambda index: -costs[index]):
        least = loads.index(min(loads))
        dealt[least].append(batches[index])
        loads[least] += costs[index]
    return dealt


def passes_of(batch: DocumentBatch, options: EvaluationOptions) -> Iterator[tuple[range, int]]:
    """The passes over a batch, the longest documents first: chunk, how many documents are read."""
    num_read = len(batch)
    for chunk in chunks_of_length(batch[0].num_targets, options):
        num_there = sum(document.num_targets > chunk.start for document in batch[:num_read])
        if num_there <= STAYING_SHARE * num_read:
            num_read = max(num_there, FEWEST_DOCUMENTS)
        yield chunk, num_read


def batches_of(
    documents: list[Document],  # the longest first
    options: EvaluationOptions,
    num_processes: int,
) -> list[DocumentBatch]:
    """Documents of about the same length side by side.

    As many as the recipe says, unless all other processes would wait for such a batch: then half as
    many, and again, as long as that saves a quarter of its time.
    """
    plain = _cut(documents, options, most_cost=math.inf)
    total = sum(batch_cost(batch, options) for batch in plain)
    return _cut(documents, options, most_cost=total / num_processes)


def _cut(
    documents: list[Document], options: EvaluationOptions, *, most_cost: float
) -> list[DocumentBatch]:
    batches, first = [], 0
    while first < len(documents):
        longest = documents[first]
        size = most_documents(longest.num_targets, options)
        while (cost := batch_cost([longest] * size, options)) > most_cost:
            half = max(size // 2, FEWEST_DOCUMENTS)
            if batch_cost([longest] * half, options) > 0.75 * cost:
                break
            size = half
        batch = documents[first : first + size]
        batches.append(batch + [NO_DOCUMENT] * (FEWEST_DOCUMENTS - len(batch)))
        first += size
    return batches


def most_documents(num_targets: int, options: EvaluationOptions) -> int:
    """How many documents of a length are read at once at most."""
    size = options.ttt_batch_size
    if options.ttt_batch_tokens > 0:
        seen = max(min(num_targets, options.ttt_eval_seq_len), 1)
        size = min(size, options.ttt_batch_tokens // seen)
    return max(size, FEWEST_DOCUMENTS)


def batch_cost(batch: DocumentBatch, options: EvaluationOptions) -> int:
    """What a batch costs, in tokens of a large pass."""
    return sum(
        PASS_COST_TOKENS + num_read * len(window_of(chunk, options))
        for chunk, num_read in passes_of(batch, options)
    )
