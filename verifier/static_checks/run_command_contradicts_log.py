"""Settings in the README's run commands against the hyperparameters that the logs print."""

from verifier.claims.run_command import RunCommand, find_run_commands
from verifier.claims.seed_by_seed import LogClaim
from verifier.findings import CheckResult, Finding, cannot_tell
from verifier.schemas.rule_yaml import Rule
from verifier.static_checks.base import PaperCase
from verifier.static_checks.code_differs_between_seeds import PER_RUN

_BOOLEANS = {"true": "1", "false": "0"}


def check(case: PaperCase, rule: Rule) -> CheckResult:
    """A setting counts where a log prints a hyperparameter of its name."""
    commands = find_run_commands(case.submission.readme_text or "")
    logs = [claim for claim in case.claims.claiming_logs if claim.log.hyperparameters]
    if not commands or not logs:
        return cannot_tell("the README holds no run command, or the logs print no hyperparameters")
    findings = [f for claim in logs if (f := _contradiction(claim, commands))]
    return CheckResult(findings=tuple(findings))


def _contradiction(claim: LogClaim, commands: tuple[RunCommand, ...]) -> Finding | None:
    given: dict[str, set[str]] = {}
    for command in commands:
        for name, value in command.environment.items():
            given.setdefault(name.lower(), set()).add(value)
    printed = {name.lower(): value for name, value in claim.log.hyperparameters.items()}
    differing = {
        name: values
        for name, values in given.items()
        if name in printed
        and not PER_RUN.search(name)
        and _plain(printed[name]) not in map(_plain, values)
    }
    if not differing:
        return None
    shown = [f"{n}: {printed[n][:40]}, command {min(v)[:40]}" for n, v in differing.items()]
    return Finding(
        message=f"{len(differing)} settings of the README's run command differ from those logged",
        file=str(claim.file.path),
        evidence="; ".join(shown[:4]),
    )


def _plain(value: str) -> str:
    """One spelling for 1, 1.0, true and "1"."""
    text = value.strip().strip("'\"").lower()
    text = _BOOLEANS.get(text, text)
    try:
        return repr(float(text))
    except ValueError:
        return text
