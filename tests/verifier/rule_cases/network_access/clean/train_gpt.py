import subprocess

subprocess.run(["git", "rev-parse", "HEAD"])
subprocess.run(["nvidia-smi"])
