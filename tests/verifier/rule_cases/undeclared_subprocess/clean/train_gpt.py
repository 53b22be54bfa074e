import subprocess

subprocess.run(["lrzip", "-d", "model.lrz"])
