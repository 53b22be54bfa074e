"""A stranger's code, read and never run."""
