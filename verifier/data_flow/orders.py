"""Who came first: questions about the order of scores and updates in a trace."""

from collections.abc import Iterator
from dataclasses import dataclass

from verifier.data_flow.trace import Loop, Score, Trace, Update, shared_loops, touches
from verifier.data_flow.values import FROM, GRADIENT, LEAF, READ, TRAINING, UP_TO, VALIDATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """An update on validation tokens and a score of them that depends on it."""

    update: Update
    score: Score
    loop: Loop | None = None  # the loop that repeats both, if that is the point


def learned_before_scored(trace: Trace) -> Iterator[Sequence]:
    """Weights learn validation tokens, and only then are these scored for the first time."""
    for update in _validation_updates(trace):
        if update.is_table or update.numbered(LEAF) or _within_scored_pass(update, trace):
            continue
        later = _later(trace, update)
        yield from _first(Sequence(update=update, score=score) for score in later)


def scored_again(trace: Trace) -> Iterator[Sequence]:
    """Tokens that have been learned are scored once more, and that score counts."""
    for update in _validation_updates(trace):
        in_rounds = [] if update.is_table else _scored_in_rounds(trace, update)
        if update.numbered(LEAF):  # a fit that is scored after its rounds is another breach
            yield from [found for found in in_rounds if _advancing(update, found.score)][:1]
            continue
        later = list(_later(trace, update))
        if later and not (update.is_table or _within_scored_pass(update, trace)):
            continue  # learned, and only then scored for the first time: another breach
        anew = (score for score in later if not _advancing(update, score))
        yield from in_rounds[:1] or _first(Sequence(update=update, score=s) for s in anew)


def fitted_to_window(trace: Trace) -> Iterator[Sequence]:
    """A tensor is fitted to tokens of a window, and the same window is scored with it."""
    scores = trace.claimed_scores()
    for update in _validation_updates(trace):
        fitted = [s for s in scores if trace.precedes(update, s) and _uses_fit(update, s)]
        fitted = [s for s in fitted if _advancing(update, s)]
        yield from _first(Sequence(update=update, score=score) for score in fitted)


def learned_but_not_saved(trace: Trace) -> Iterator[Sequence]:
    """Weights learn training tokens, reach the claimed score, and no file holds them.

    Only where others that reach it went into a file: else what was saved was lost sight of. What is
    learned where the scoring goes on are the scored tokens.
    """
    scores = trace.claimed_scores()
    scoring = {score.function for score in scores}
    updates = [u for u in trace.of_kind(Update) if VALIDATION not in u.marks and not u.is_table]
    updates = [u for u in updates if u.function not in scoring]
    updates = [u for u in updates if not any(shared_loops(u, score) for score in scores)]
    for score in scores:
        reaching = [u for u in updates if trace.precedes(u, score) and touches(u, score)]
        unsaved = [u for u in reaching if not u.objects & trace.saved]
        if len(unsaved) < len(reaching):
            yield from (Sequence(update=update, score=score) for update in unsaved)


def learned_from_untold_file(trace: Trace) -> Update | None:
    """A step on what a file holds whose name does not say which text it is, before the score.

    What an optimizer of the script's own does with gradients tells nothing of their origin.
    """
    for update in trace.of_kind(Update):
        is_told = READ not in update.marks or update.marks & {TRAINING, VALIDATION, GRADIENT}
        if not (is_told or update.is_table) and any(_later(trace, update)):
            return update
    return None


def is_fitted_to_context_only(trace: Trace, update: Update) -> bool:
    """Whether the fit ends where the scored part begins: by name, or as far from the end."""
    ends = {mark.removeprefix(UP_TO) for mark in update.numbered(UP_TO)}
    begins = {mark.removeprefix(FROM) for mark in trace.claimed_marks() if mark.startswith(FROM)}
    fitted_from = {mark.removeprefix(FROM) for mark in update.numbered(FROM)}
    return bool(ends & begins - fitted_from)


def warmed_up(trace: Trace) -> Iterator[Update]:
    """Optimizer steps on validation tokens that change nothing which is scored later."""
    scores = trace.reported_scores()
    for update in _validation_updates(trace):
        if update.is_table or update.numbered(LEAF) or _within_scored_pass(update, trace):
            continue
        later = [score for score in scores if trace.precedes(update, score)]
        if later and not any(touches(update, score) for score in later):
            yield update


def _validation_updates(trace: Trace) -> list[Update]:
    return [update for update in trace.of_kind(Update) if VALIDATION in update.marks]


def _later(trace: Trace, update: Update) -> Iterator[Score]:
    scores = trace.claimed_scores()
    return (s for s in scores if trace.precedes(update, s) and touches(update, s))


def _within_scored_pass(update: Update, trace: Trace) -> bool:
    """Whether the update follows a score in one loop that moves on to other tokens."""
    before = (score for score in trace.reported_scores() if trace.precedes(score, update))
    return any(_advancing(update, score) for score in before)


def _advancing(update: Update, score: Score) -> bool:
    shared = shared_loops(update, score)
    return any(loop.advances_by_itself or loop.mark in score.marks for loop in shared)


def _scored_in_rounds(trace: Trace, update: Update) -> list[Sequence]:
    """Scores that a loop repeats, with the update in between."""
    return [
        Sequence(update=update, score=score, loop=loop)
        for score in trace.claimed_scores()
        if touches(update, score) or _shares_leaf(update, score)
        for loop in _repeating(update, score)
    ]


def _repeating(update: Update, score: Score) -> list[Loop]:
    """Shared loops whose variable does not choose the tokens, around one that does."""
    repeating = []
    for depth, loop in enumerate(shared_loops(update, score)):
        inner = score.loops[depth + 1 :]
        moves_inside = any(deeper.mark in score.marks for deeper in inner)
        is_free = loop.mark not in score.marks and not loop.advances_by_itself
        if is_free and moves_inside and loop.num_rounds != 1:
            repeating.append(loop)
    return repeating


def _uses_fit(update: Update, score: Score) -> bool:
    return _shares_leaf(update, score) or (GRADIENT in score.marks and touches(update, score))


def _shares_leaf(update: Update, score: Score) -> bool:
    return bool(update.numbered(LEAF) & score.numbered(LEAF))


def _first(sequences: Iterator[Sequence]) -> list[Sequence]:
    return [sequence for _, sequence in zip(range(1), sequences, strict=False)]
