import re

from trainer.planning.model_plan import describe_plan, plan_model
from trainer.recipe_file import load_recipe


def test_a_plan_says_how_sequences_grow():
    growing = {"schedule.train_seq_schedule": ("here", "256@0.1,512@0.7,1024@0.9")}
    said = describe_plan(plan_model(load_recipe("baseline", growing).recipe))
    found = re.findall(r"([\d,]+)  FLOPs a token in sequences of (\d+), until (\d+)%", said)
    assert [phase[1:] for phase in found] == [("256", "10"), ("512", "70"), ("1024", "100")]
    assert found[-1][0] == "130,547,712"
