"""One artifact on validation documents and fresh ones: does it know what nobody showed it?

Both kinds stand on one tape in a drawn order, so that no script can tell them apart by place, and
whatever it learns on the way it learns of both.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.floor.assessment import implied_range
from verifier.probe.assessment import Losses, Scored, usable
from verifier.probe.exchange import MAX_TRAINING_TOKENS, PairTable, compare
from verifier.probe.fresh_documents import Document, Speller, read_documents, source_sha256, split
from verifier.probe.scoring import Scorer, tokens_of
from verifier.probe.variants import Sample, Variant
from verifier.runs.delivery import disk_errors
from verifier.runs.harness import Executed, Harness
from verifier.runs.journal import recorded, write_record
from verifier.runs.plan import PreparedRun
from verifier.runs.processes import Setting
from verifier.schemas.fresh_record_json import FreshRecord

SECRET_BYTES = 16
MAX_TOKENS = 2**18
"""Of either kind of documents, or a document more."""
MIN_DOCUMENTS = 8
"""Of either kind: with fewer, no drawing of lots tells 1 in 10,000."""
NATS_PER_BIT = float(np.log(2.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """Documents of both kinds as they stand on the tape; their bytes are known."""

    documents: Sequence[Document]
    is_fresh: NDArray[np.bool_]  # (D,)

    @property
    def variant(self) -> Variant:
        tokens = np.concatenate([document.tokens for document in self.documents])
        return Variant(kind="fresh", name="fresh", tokens=tokens, places=np.arange(len(tokens)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(D,) tokens of each, its start included."""
        return np.array([len(document) for document in self.documents])

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(D,) bytes of each."""
        return np.array([document.num_bytes for document in self.documents], dtype=np.float64)


def score_fresh(
    prepared: PreparedRun, harness: Harness, executed: Executed, path: Path
) -> FreshRecord:
    """Evaluate the first seed's artifact on both; the record on disk where it is of this source.

    Raises:
        UsageError: there are no documents at `path`, or nothing to read them with.
        DataError: they, or the tokenizer, are malformed.
        SandboxUnavailableError: the sandbox could not start.
        RunDirectoryError: a file could not be written.
        KeyboardInterrupt: the running process was killed.
    """
    place = harness.journal.folder / "fresh.json"
    speller = Speller(prepared.data.tokenizer)
    text = np.concatenate(tokens_of(prepared.data, "val"))
    fresh = read_documents(path, speller, int(text[0]))
    record = FreshRecord(
        source=path.name, source_sha256=source_sha256(path), secret=secrets.token_hex(SECRET_BYTES)
    )
    done = recorded(place, FreshRecord)
    if done is not None and done.source_sha256 == record.source_sha256:
        return done
    why = _why_not(prepared, executed)
    told: dict[str, object] = {"not_evaluated": why}
    if why is None:
        rng = np.random.default_rng(int(record.secret, 16))
        mixture = mix((split(text, int(text[0])), fresh), speller, rng)
        harness.observer.run_started("validation documents among fresh ones")
        scored = _score(mixture, prepared, harness, executed.measurements[0].seed)
        [training, *_] = tokens_of(prepared.data, "train", MAX_TRAINING_TOKENS)
        told = assess_fresh(mixture, scored, PairTable(training), rng)
    record = record.model_copy(update=told)
    with disk_errors(place):
        write_record(place, record)
    return record


def mix(
    groups: tuple[Sequence[Document], Sequence[Document]],
    speller: Speller,
    rng: np.random.Generator,
) -> Mixture:
    """Validation documents and fresh ones in a drawn order, equally many tokens at most."""
    known = _draw([document.cut() for document in groups[0]], MAX_TOKENS, rng)
    fresh = _draw([document.cut() for document in groups[1]], sum(map(len, known)), rng)
    is_fresh = np.repeat([False, True], [len(known), len(fresh)])
    order, both = rng.permutation(len(is_fresh)), [*known, *fresh]
    return Mixture(documents=[speller.measured(both[i]) for i in order], is_fresh=is_fresh[order])


def assess_fresh(
    mixture: Mixture, scored: Scored, table: PairTable, rng: np.random.Generator
) -> dict[str, object]:
    """What the losses say of both kinds; the fields of a record."""
    losses, why = usable(mixture.variant, scored)
    told: dict[str, object] = {"wall_seconds": scored.wall_seconds}
    if losses is None:
        return told | {"not_evaluated": why}
    ends = np.cumsum(mixture.lengths) - 1
    is_whole = ends <= len(losses)
    told |= _bytes(mixture, is_whole, scored)
    asked = np.flatnonzero(is_whole & (mixture.sizes > 0) & (mixture.lengths > 1))
    is_fresh = mixture.is_fresh[asked]
    num_fresh = int(is_fresh.sum())
    told |= {"num_validation": len(asked) - num_fresh, "num_fresh": num_fresh}
    if min(num_fresh, len(asked) - num_fresh) < MIN_DOCUMENTS:
        return told | {"not_evaluated": f"fewer than {MIN_DOCUMENTS} whole documents of one kind"}
    sizes = mixture.sizes[asked]
    hardness = np.array([table.hardness(d.tokens) for d in mixture.documents])[asked].T
    nats = np.stack([_by_document(losses, ends, mixture.lengths)[asked], *hardness])
    bits, *explaining = nats / NATS_PER_BIT / sizes
    gap = compare(bits, sizes, explaining, is_fresh, rng)
    return told | {
        "validation_bpb": float(np.average(bits[~is_fresh], weights=sizes[~is_fresh])),
        "fresh_bpb": float(np.average(bits[is_fresh], weights=sizes[is_fresh])),
        "gap_bpb": gap.size,
        "error_bpb": gap.error,
        "p_value": gap.p_value,
    }


def _why_not(prepared: PreparedRun, executed: Executed) -> str | None:
    first = executed.measurements[0]
    if first.outcome != "completed":
        return f"{first.outcome}: {first.detail}"
    if prepared.plan.evaluation is None:
        return "one command trains and evaluates, so no artifact can be evaluated on other text"
    if tokens_of(prepared.data, "val_bytes"):
        return "the track's data have a sidecar of bytes, which fresh documents lack"
    return None


def _score(mixture: Mixture, prepared: PreparedRun, harness: Harness, seed: int) -> Scored:
    """As the probes do it, which keep every token's loss, whichever rung this is."""
    plan = prepared.plan.model_copy(update={"rung": "probe"})
    setting = Setting(prepared=replace(prepared, plan=plan), harness=harness)
    variant = mixture.variant
    sample = Sample(tokens=variant.tokens, begin=0)
    return Scorer(setting=setting, seed=seed, sample=sample).score(variant)


def _draw(
    documents: Sequence[Document], num_tokens: int, rng: np.random.Generator
) -> list[Document]:
    """Documents in a drawn order until they hold so many tokens."""
    order = rng.permutation(len(documents))
    ends = np.cumsum([len(documents[i]) for i in order])
    return [documents[i] for i in order[: int(ends.searchsorted(num_tokens)) + 1]]


def _by_document(
    losses: Losses, ends: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(D,) nats of each document's tokens behind its start; the loss of token k stands at k − 1."""
    added = np.concatenate([[0.0], losses.cumsum()])
    last = len(losses)
    return np.asarray(added[np.minimum(ends, last)] - added[np.minimum(ends - lengths + 1, last)])


def _bytes(mixture: Mixture, is_whole: NDArray[np.bool_], scored: Scored) -> dict[str, object]:
    """The bytes of what was scored, and those that its print implies."""
    whole = int(is_whole.sum())
    told: dict[str, object] = {
        "num_retold": sum(document.is_retold for document in mixture.documents),
        "text_bytes_low": int(mixture.sizes[:whole].sum()),
        "text_bytes_high": int(mixture.sizes[: whole + 1].sum()),
    }
    if scored.final is None or scored.losses is None:
        return told
    low, high = implied_range(scored.final, len(scored.losses))
    return told | {"implied_bytes_low": low, "implied_bytes_high": high}
