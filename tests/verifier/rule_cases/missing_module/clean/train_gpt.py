"""Trains a model that lies in the folder."""
import os
import torch
from core.model import GPT
import opt_einsum
import shampoo_kernels

try:
    import own_kernels
except ImportError:
    own_kernels = None

print("val_bpb", GPT, os, torch, opt_einsum, shampoo_kernels)
