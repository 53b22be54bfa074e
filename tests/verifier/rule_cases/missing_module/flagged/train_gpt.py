"""Trains a model that lies elsewhere."""
import os
import sys
import torch
from core.model import GPT  # flagged: missing_module
import opt_einsum  # flagged: missing_module

print("core.model", sys.modules["torch"])
print("val_bpb", GPT, os, torch, opt_einsum)
