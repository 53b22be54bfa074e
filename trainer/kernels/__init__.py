"""Kernels of our own for what a GPU would else do in many passes over memory."""
