"""Trains a model that lies in the folder, with modules that it makes for itself."""
import os
import sys
import types
import torch


def install(name, source):
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(source, module.__dict__)


install("bundled", "")
install("bundled.registry", "build = dict")

from bundled.registry import build
from core.model import GPT
import opt_einsum
import shampoo_kernels

try:
    import own_kernels
except ImportError:
    own_kernels = None

print("val_bpb", GPT, os, torch, opt_einsum, shampoo_kernels, build)
