from datasets import load_dataset
from transformers import AutoModel

text = load_dataset("some/encyclopedia", split="train")  # flagged: external_data
teacher = AutoModel.from_pretrained("some/model")  # flagged: external_data
