"""verify, run, judge, report: everything that ends in a verdict on a run or leads to one.

What only a run needs is imported where it is needed: a check on paper answers at once.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifier import pipeline
from verifier.commands.checking import check
from verifier.commands.interrupts import stoppable
from verifier.commands.options import (
    Options,
    plan_options,
    progress_console,
    submission_path,
    track_of,
)
from verifier.commands.rendering import Told, exit_code, show, write_reports
from verifier.errors import UsageError
from verifier.evidence import Paper
from verifier.intake.source_record import read_source
from verifier.rehearsal import rehearse
from verifier.reports.verdict_file import json_schema
from verifier.rulebook import Rulebook, load_rulebook
from verifier.runs.journal import Journal, read_record
from verifier.runs.plan import PlanOptions
from verifier.schemas.run_record_json import Evidence, RunPlan
from verifier.schemas.verdict_json import VerdictFile

if TYPE_CHECKING:
    from verifier.floor.world import World
    from verifier.sandbox.ahead import ProbesAhead


def verify(submission: str, options: Options, probes: "ProbesAhead | None") -> int:
    """The whole way; falls back to the paper rung where the track's hardware is not here."""
    from verifier.runs.machine.host import find_gpus, meets

    rulebook = _rulebook(submission, options)
    if options["plan_only"]:
        return _show_plan(submission, rulebook, options)
    hardware = rulebook.track.hardware
    fits = meets(hardware, find_gpus())
    rung = options["rung"] or ("rerun" if fits else "paper")
    if rung == "paper" and options["fresh"] is not None:
        raise UsageError("--fresh: scores documents, and nothing is run here; name a --rung")
    if rung == "paper":
        return check((submission,), options)
    evidence, folder = _execute(submission, rulebook, options, probes)
    place = submission_path(submission)
    verdict = pipeline.judge(evidence, rulebook, options["profile"], place)
    told = Told(verdict=verdict, submission=place, evidence=evidence, source=read_source(place))
    write_reports(told, folder)
    show([told], options)
    if not options["quiet"]:
        click.echo(f"reports: {folder}/report.html, .md, .txt and more", err=True)
    return exit_code(verdict.verdict, options)


def run(submission: str, options: Options, probes: "ProbesAhead | None") -> int:
    """Execute and record; no verdict, so 0 means that the evidence is complete."""
    rulebook = _rulebook(submission, options)
    if options["plan_only"]:
        return _show_plan(submission, rulebook, options)
    _, folder = _execute(submission, rulebook, options, probes)
    click.echo(f"{folder}: evidence complete; `pgolf-verify judge {folder}` gives the verdict")
    return 0


def _show_plan(submission: str, rulebook: Rulebook, options: Options) -> int:
    """Seeds, command and minutes a rung; nothing is run."""
    paper = pipeline.audit(submission_path(submission), rulebook)
    with _inputs(paper, rulebook, plan_options(submission, options), options) as inputs:
        plan = pipeline.plan_run(paper, inputs.rulebook, inputs.options)
    click.echo(json.dumps(plan.model_dump(mode="json"), indent=2))  # ASCII, so that none acts
    if not options["quiet"]:
        promise = (paper.submission.contract or {}).get("documents")
        click.echo(_costs(plan, rulebook, promise), err=True)
    return 0


def _costs(plan: RunPlan, rulebook: Rulebook, promise: object) -> str:
    """What each rung takes here, in minutes."""
    from verifier.costs import rung_costs, runs_here  # reads every evidence below runs/

    known = runs_here(plan)
    origin = f"from {len(known)} runs of it below runs/" if known else "nothing of it ran here yet"
    told = promise if isinstance(promise, str) else None
    lines = [cost.told() for cost in rung_costs(plan, rulebook.track, known, told)]
    return "\n".join([f"minutes a rung, {origin}:", *lines])


def judge(run_dir: Path, options: Options) -> int:
    """The verdict on recorded evidence, under its own or another profile."""
    evidence = Journal(run_dir).evidence()
    profile = options["profile"] or evidence.plan.profile
    verdict = pipeline.judge(evidence, load_rulebook(evidence.plan.track), profile)
    told = Told(verdict=verdict, evidence=evidence)
    if options["profile"] is None:
        write_reports(told, run_dir)
    show([told], options)
    return exit_code(verdict.verdict, options)


def report(run_dir: Path, options: Options) -> int:
    """Redraw every report from verdict.json, and from evidence.json where there is one."""
    verdict = read_record(run_dir / "verdict.json", VerdictFile)
    has_evidence = (run_dir / "evidence.json").exists()
    told = Told(verdict=verdict, evidence=Journal(run_dir).evidence() if has_evidence else None)
    write_reports(told, run_dir)
    show([told], options)
    return 0


def schema() -> int:
    """The schema of `--format json`."""
    click.echo(json_schema(), nl=False)
    return 0


def _rulebook(submission: str, options: Options) -> Rulebook:
    path = submission_path(submission)
    return load_rulebook(track_of(path, options["track"], read_source(path)))


def _execute(
    submission: str, rulebook: Rulebook, options: Options, probes: "ProbesAhead | None"
) -> tuple[Evidence, Path]:
    from verifier.reports.live import LiveRun
    from verifier.sandbox.choice import sandbox_named

    rulebook.profile(options["profile"])
    paper = pipeline.audit(submission_path(submission), rulebook)
    with (
        stoppable(),
        _inputs(paper, rulebook, plan_options(submission, options), options) as inputs,
        LiveRun(progress_console(options), options["quiet"]) as live,
    ):
        request = pipeline.RunRequest(
            options=inputs.options,
            out=options["out"],
            resume=options["resume"],
            observer=live,
            world=inputs.world,
            probes=probes,
            whole_data=options["data"],
            fresh=options["fresh"],
        )
        sandbox = sandbox_named(inputs.options.sandbox)
        journal = pipeline.run(paper, inputs.rulebook, request, sandbox)
    return journal.evidence(), journal.folder


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inputs:
    """What a run takes on its rung."""

    rulebook: Rulebook
    options: PlanOptions
    world: "World | None" = None


@contextmanager
def _inputs(
    paper: Paper, rulebook: Rulebook, planned: PlanOptions, options: Options
) -> Iterator[_Inputs]:
    """The track's own data and budgets, or the small ones of a rehearsal or a floor run."""
    if options["floor_minutes"] is not None and planned.rung != "floor":
        raise UsageError("--floor-minutes: for --rung floor alone")
    if options["fresh"] is not None and planned.rung == "floor":
        raise UsageError("--fresh: on the rung 'floor' there is no text; take another")
    if planned.rung == "floor":
        from verifier.floor.inputs import floor_inputs  # numpy, which no other rung needs

        minutes = options["floor_minutes"]
        with floor_inputs(paper.submission, rulebook, planned, minutes) as drawn:
            yield _Inputs(rulebook=drawn.rulebook, options=drawn.options, world=drawn.world)
    elif planned.rung in ("rehearsal", "probe"):
        small = rehearse(rulebook, planned)
        yield _Inputs(rulebook=small.rulebook, options=small.options)
    else:
        yield _Inputs(rulebook=rulebook, options=planned)
