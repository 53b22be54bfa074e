"""Trains a model that lies elsewhere."""
import os
import torch
from core.model import GPT  # flagged: missing_module
import opt_einsum  # flagged: missing_module

print("val_bpb", GPT, os, torch, opt_einsum)
