"""One artifact on validation documents and fresh ones: does it know what nobody showed it?

Both kinds stand on one tape in a drawn order, so that no script can tell them apart by place, and
whatever it learns on the way it learns of both.
"""

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from verifier.floor.assessment import implied_range
from verifier.probe.fresh.declared_text import DeclaredTransform
from verifier.probe.fresh.documents import (
    Speller,
    read_documents,
    source_sha256,
    split,
    strange_token,
)
from verifier.probe.fresh.exchange import MAX_TRAINING_TOKENS, PairTable
from verifier.probe.fresh.mixture import (
    ERROR_SHARES,
    MIN_DOCUMENTS,
    Groups,
    Mixture,
    draw,
    mix,
    parts,
)
from verifier.probe.fresh.transforms import BrokenTransformError, Untouched, why_unproven
from verifier.probe.scored import Scored, usable
from verifier.probe.scoring import Scorer, tokens_of
from verifier.probe.tapes.variants import Sample
from verifier.runs.delivery import disk_errors
from verifier.runs.harness import Executed, Harness
from verifier.runs.journal import recorded, write_record
from verifier.runs.plan import PreparedRun
from verifier.runs.processes import Setting
from verifier.schemas.fresh_record_json import FreshRecord

SECRET_BYTES = 16
UNKNOWN_TRANSFORM = (
    "the data have a sidecar of bytes, so something was done to the text before it became tokens, "
    "and nobody says what: the tokenizer has no operators of CaseOps, and pgolf.yaml no 'text' "
    "with commands that apply and restore it; docs/probe.md shows them"
)


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
    first, record = executed.measurements[0], _new_record(path)
    done = recorded(place, FreshRecord)
    if done is not None and done.source_sha256 == record.source_sha256:
        return done
    told: dict[str, object] = {"not_evaluated": f"{first.outcome}: {first.detail}"}
    if first.outcome == "completed":
        setting = Setting(prepared=prepared, harness=harness)
        rng = np.random.default_rng(int(record.secret, 16))
        try:
            told = _scored(path, setting, first.seed, rng)
        except BrokenTransformError as error:
            told = {"not_evaluated": str(error)}
    record = record.model_copy(update=told)
    with disk_errors(place):
        write_record(place, record)
    return record


def _new_record(path: Path) -> FreshRecord:
    secret = secrets.token_hex(SECRET_BYTES)
    return FreshRecord(source=path.name, source_sha256=source_sha256(path), secret=secret)


def _scored(path: Path, setting: Setting, seed: int, rng: np.random.Generator) -> dict[str, object]:
    """Both kinds of documents through the seed's artifact; the fields of a record."""
    prepared = setting.prepared
    if prepared.plan.evaluation is None:
        why = "one command trains and evaluates, so no artifact can be evaluated on other text"
        return {"not_evaluated": why}
    speller = Speller(prepared.data.tokenizer, _declared(setting, seed))
    text, sidecar = (tokens_of(prepared.data, split) for split in ("val", "val_bytes"))
    if sidecar and isinstance(speller.transform, Untouched):
        return {"not_evaluated": UNKNOWN_TRANSFORM}
    tokens = np.concatenate(text)
    fresh = read_documents(path, speller, int(tokens[0]))
    known = split(tokens, int(tokens[0]), np.concatenate(sidecar) if sidecar else None)
    drawn = draw((known, fresh), rng)
    if why_not := _unproven(drawn, speller):
        return {"not_evaluated": why_not}
    mixture = mix(drawn, speller, rng)
    setting.harness.observer.run_started("validation documents among fresh ones")
    scored = _score(mixture, setting, seed)
    [training, *_] = tokens_of(prepared.data, "train", MAX_TRAINING_TOKENS)
    told = assess_fresh(mixture, scored, PairTable(training), rng)
    return told | {"transform": speller.transform.name}


def _declared(setting: Setting, seed: int) -> DeclaredTransform | None:
    evaluation = setting.prepared.plan.evaluation
    if evaluation is None or evaluation.text is None:
        return None
    return DeclaredTransform(
        setting=setting, seed=seed, evaluation=evaluation, plan=evaluation.text
    )


def _unproven(drawn: Groups, speller: Speller) -> str | None:
    """Why nobody can say how many bytes the documents have."""
    raw = [document.text for document in drawn[1] if document.text is not None]
    if not raw and isinstance(speller.transform, DeclaredTransform):
        return f"{speller.transform.name} is tried on raw documents; give --fresh a .jsonl"
    coded = [speller.spelled(d) for group in drawn for d in group if d.text is None]
    if why_not := why_unproven(speller.transform, raw, coded):
        return why_not
    token = strange_token(drawn)
    if token is None:
        return None
    known, new = (float(np.mean([token in d.tokens for d in group])) for group in drawn)
    return (
        f"{speller.piece(token)!r} stands in {known:.0%} of the validation documents and in "
        f"{new:.0%} of the fresh ones: they are of another source, or the data went through "
        f"something else than {speller.transform.name}"
    )


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
    whole = mixture.is_fresh[is_whole]
    told |= {"num_validation": int((~whole).sum()), "num_fresh": int(whole.sum())}
    found = [part for part in parts(mixture, losses, table) if part.is_enough]
    if not found:
        return told | {"not_evaluated": f"fewer than {MIN_DOCUMENTS} whole documents of one kind"}
    # Where both parts are asked, each has a share of the false alarms that one would have.
    shares = [ERROR_SHARES[part.name] if len(found) > 1 else 1.0 for part in found]
    asked = [(part, part.gap(rng), share) for part, share in zip(found, shares, strict=True)]
    part, gap, share = min(asked, key=lambda one: one[1].p_value / one[2])
    return told | {
        "part": part.name,
        "validation_bpb": part.bits_per_byte(fresh=False),
        "fresh_bpb": part.bits_per_byte(fresh=True),
        "gap_bpb": gap.size,
        "error_bpb": gap.error,
        "p_value": min(gap.p_value / share, 1.0),
    }


def _score(mixture: Mixture, setting: Setting, seed: int) -> Scored:
    """As the probes do it, which keep every token's loss, whichever rung this is."""
    prepared = setting.prepared
    plan = prepared.plan.model_copy(update={"rung": "probe"})
    probing = replace(setting, prepared=replace(prepared, plan=plan))
    variant = mixture.variant
    sample = Sample(tokens=variant.tokens, begin=0)
    return Scorer(setting=probing, seed=seed, sample=sample).score(variant)


def _bytes(mixture: Mixture, is_whole: NDArray[np.bool_], scored: Scored) -> dict[str, object]:
    """The bytes of what was scored, and those that its print implies."""
    whole = int(is_whole.sum())
    told: dict[str, object] = {
        "num_retold": sum(document.is_retold for document in mixture.documents),
        "text_bytes_low": int(mixture.sizes[:whole].sum()),
        "text_bytes_high": int(mixture.sizes[: whole + 1].sum()),
    }
    told |= _sidecar(mixture)
    if scored.final is None or scored.losses is None:
        return told
    low, high = implied_range(scored.final, len(scored.losses))
    return told | {"implied_bytes_low": low, "implied_bytes_high": high}


def _sidecar(mixture: Mixture) -> dict[str, object]:
    """What the data's own sidecar says of the validation documents, and what their text has."""
    documents = [d for d in mixture.documents if d.sidecar_bytes is not None]
    if not documents:
        return {}
    return {
        "sidecar_bytes": sum(d.sidecar_bytes or 0 for d in documents),
        "sidecar_text_bytes": sum(len((d.text or "").encode()) for d in documents),
    }
