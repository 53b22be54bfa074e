import subprocess

subprocess.run(["nvidia-smi"])
subprocess.run(["lrzip", "-d", "model.lrz"])  # flagged: undeclared_subprocess
