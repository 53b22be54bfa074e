"""Follow a script's evaluation with marks in place of tensors.

The ways in which real submissions broke the four conditions, as read in their code:

- The whole validation set is trained on, for many epochs, between training and quantisation or
  before the scored pass (train, then score).
- Adaptation scores first, but inside a loop over epochs whose variable does not choose the
  tokens: the same tokens are scored again after the model has learned them; the last or the
  lowest score counts. Or all tokens are scored and then learned, in several phases. Or a finished
  pass leaves a table of counts with which a second pass scores.
- A vector is fitted to the tokens of a window, then the same window is scored with it.
- The probability of the realised token alone is mixed with a count found under a hash of context
  and that token, or spread over the token's bytes: there is no distribution over the vocabulary.
- Whether an expert speaks at a position depends on what kind of token stands there, in Python or
  in native code, or the better of two predictions is kept.
- Of several weights those are packed that score best on the validation tokens, or the better of two
  passes is reported.
- Statistics for quantisation are gathered on validation tokens, or on training tokens after the
  training clock.

Honest adaptation differs in order only: a chunk's score is in the sum before the chunk is
learned, and the loop around both moves on to other tokens.
"""

from dataclasses import replace

from verifier.data_flow.interpreter import Interpreter
from verifier.data_flow.recorder import OutOfStepsError
from verifier.data_flow.settings import Settings
from verifier.data_flow.trace import Report, Trace
from verifier.reading.program import Program, read_module


def follow_run(program: Program, settings: Settings) -> Trace:
    """What the main script does with the validation tokens. Never raises for odd code."""
    trace = _follow(program, settings)
    if settings.trusts_silence and not trace.claimed_scores():
        # The logs are those of another stage: what they do not say may have been done.
        trace = _follow(program, replace(settings, trusts_silence=False))
    if program.unreachable and not _is_told(trace, settings):
        aside = [module for file in program.unreachable if (module := read_module(file))]
        wider = replace(program, modules=(*program.modules, *aside))
        found = _follow(wider, settings)
        trace = found if _is_told(found, settings) else trace
    if any(trace.of_kind(Report)) and not _is_told(trace, settings):
        trace.stopped = trace.stopped or "no script that could be followed prints the claimed score"
    trace.unprinted = settings.unprinted
    if trace.unprinted:
        trace.stopped = trace.stopped or trace.unprinted[0].reason
    return trace


def _is_told(trace: Trace, settings: Settings) -> bool:
    """Whether a followed script prints the claimed figure, or any where no log has the claim."""
    reports = trace.of_kind(Report)
    return any(report.is_claim or not settings.claiming_lines for report in reports)


def _follow(program: Program, settings: Settings) -> Trace:
    interpreter = Interpreter({module.name: module for module in program.modules}, settings)
    trace = interpreter.trace
    # The main script first, then what it unpacks or executes, until one prints the claimed score.
    main = [module for module in program.modules if module.file is program.modules[0].file]
    others = [module for module in program.modules if module.file is not program.modules[0].file]
    try:
        for module in main:
            if module.name not in interpreter.run_in_calls:
                interpreter.run_module(module)
        for module in others:
            if not _is_told(trace, settings):
                interpreter.run_module(module)
    except OutOfStepsError:
        trace.stopped = "the script is longer than this analysis follows"
    except RecursionError:
        trace.stopped = "the script nests deeper than this analysis follows"
    except Exception as error:  # odd code must not keep the other rules from their answers
        trace.stopped = f"following the script failed: {type(error).__name__}: {error}"
    trace.saved = interpreter.saved_objects()
    if not main:
        trace.stopped = "there is no script that can be read"
    return trace
