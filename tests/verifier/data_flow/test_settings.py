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
