import pytest

from verifier.data_flow.orders import learned_before_scored

OFF_BY_DEFAULT = """
optimizer = torch.optim.SGD(model.parameters())
if int(os.environ.get("ADAPT", "0")):
    print("adapting to the validation set")
    model(tokens[:64], tokens[1:65]).backward()
    optimizer.step()
for i in range(9):
    print(f"val_bpb:{model(tokens[i:], tokens[i + 1:])}")
"""


def learned(trace):
    assert trace.claimed_scores()
    return bool(list(learned_before_scored(trace)))


def test_a_branch_that_is_off_by_default_is_not_followed(follow):
    assert not learned(follow(OFF_BY_DEFAULT))


def test_the_readme_switches_a_branch_on(follow):
    assert learned(follow(OFF_BY_DEFAULT, readme="ADAPT=1 torchrun train_gpt.py"))


def test_commands_that_differ_leave_a_branch_open(follow):
    readme = "ADAPT=1 torchrun train_gpt.py\n\nADAPT=0 torchrun train_gpt.py"
    assert learned(follow(OFF_BY_DEFAULT, readme=readme))


def test_a_log_line_that_only_the_branch_prints_switches_it_on(follow):
    assert learned(follow(OFF_BY_DEFAULT, log="adapting to the validation set\n"))


def test_a_script_printed_into_its_log_switches_nothing_on(follow):
    assert not learned(follow(OFF_BY_DEFAULT, log=OFF_BY_DEFAULT))


def test_a_dumped_setting_of_the_same_name_switches_nothing_on(follow):
    code = OFF_BY_DEFAULT.replace("adapting to the validation set", "adaptation_rate: ")
    assert learned(follow(code, log="adaptation_rate: 0.1\n"))
    assert not learned(follow(code, log="Hyperparameters:\n  adaptation_rate: 0.1\n"))


def test_the_line_with_the_stated_figure_is_the_claim(read, tmp_path):
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2345}')
    settings, _ = read(log="first val_bpb:1.3000\nsecond val_bpb:1.23449\n")
    assert settings.claiming_lines == ("second val_bpb:1.23449",)


def test_a_log_line_that_other_code_prints_too_switches_nothing_on(follow):
    code = OFF_BY_DEFAULT + 'print("adapting to the validation set")\n'
    assert not learned(follow(code, log="adapting to the validation set\n"))


@pytest.mark.parametrize("num_other_lines, is_followed", [(6, False), (5, True)])
def test_an_open_branch_whose_text_no_log_carries_was_not_taken(
    follow, num_other_lines, is_followed
):
    lines = [f"stage number {n} begins" for n in range(num_other_lines)]
    code = "\n".join(f'print("{line}")' for line in lines)
    branch = OFF_BY_DEFAULT.replace('int(os.environ.get("ADAPT", "0"))', "model.adapts()")
    assert learned(follow(code + branch, log="\n".join(lines))) is is_followed


def test_the_figure_in_the_title_is_claimed_too(read, tmp_path):
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.1849}')
    log = "step:9 val_bpb:1.1849\nfinal val_bpb:0.5527\nother val_bpb:1.3\n"
    settings, _ = read(readme="# Fast: 0.5527 BPB\n", log=log)
    assert settings.is_claiming("final val_bpb:") and not settings.is_claiming("other val_bpb:")


def test_logs_that_carry_no_score_of_the_script_say_nothing_of_its_branches(follow):
    lines = [f"stage number {n} begins" for n in range(6)]
    code = "\n".join(f'print("{line}")' for line in lines)
    evaluation = 'print("now the evaluation")\nprint(f"val_bpb:{model(tokens, tokens)}")'
    branch = "if model.evaluates():\n" + "\n".join(f"    {s}" for s in evaluation.splitlines())
    assert follow(f"{code}\n{branch}", log="\n".join(lines)).claimed_scores()


ASIDE = """
from train_gpt import model, tokens
import torch
torch.optim.SGD(model.parameters()).step(model(tokens[:9], tokens[1:]).backward())
print(f"tilted bpb={model(tokens, tokens)}")
"""


@pytest.mark.parametrize("claimed, is_learned", [("tilted bpb=", True), ("val_bpb:", False)])
def test_a_script_aside_is_followed_if_it_alone_prints_the_claim(
    follow, tmp_path, claimed, is_learned
):
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2345}')
    (tmp_path / "score.py").write_text(ASIDE)
    trace = follow('print(f"val_bpb:{model(tokens, tokens)}")', log=f"{claimed}1.23450\n")
    assert learned(trace) is is_learned


def test_a_claim_that_no_script_prints_is_not_followed(follow, tmp_path):
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2345}')
    trace = follow('print(f"val_bpb:{model(tokens, tokens)}")', log="cooled bpb=1.23450\n")
    assert "prints the claimed score" in (trace.stopped or "")


def test_of_labels_near_a_mean_the_nearest_on_average_is_the_claim(read, tmp_path):
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.1000}')
    log = "bare bpb:1.1021\nbare bpb:1.1011\ntilted bpb:1.1008\ntilted bpb:1.0995\n"
    settings, _ = read(log=log)
    assert settings.claiming_lines == ("tilted bpb:1.1008", "tilted bpb:1.0995")


@pytest.mark.parametrize(
    "rank", ['int(os.environ.get("RANK", "0"))', "torch.distributed.get_rank()"]
)
def test_what_another_process_printed_was_not_done_by_the_first(follow, rank):
    code = OFF_BY_DEFAULT.replace('int(os.environ.get("ADAPT", "0"))', rank)
    assert not learned(follow(code, log="adapting to the validation set\n"))


@pytest.mark.parametrize("adapted, is_learned", [(True, True), (False, False)])
def test_of_logs_with_other_settings_the_claimed_one_decides(follow, tmp_path, adapted, is_learned):
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2345}')
    code = OFF_BY_DEFAULT.replace('int(os.environ.get("ADAPT", "0"))', "Settings.adapt_first")
    code = "class Settings:\n    adapt_first = model.adapts()\n" + code
    dump = "Hyperparameters:\n  adapt_first: {}\n{}val_bpb:{}\n"
    trial = dump.format(not adapted, "adapting to the validation set\n", "1.3000")
    (tmp_path / "trial.log").write_text(trial)
    log = dump.format(adapted, "", "1.2345")
    assert learned(follow(code, log=log)) is is_learned
