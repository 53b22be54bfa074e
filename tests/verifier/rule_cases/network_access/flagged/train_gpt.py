import subprocess

from huggingface_hub import snapshot_download as get

get("someone/tables")  # flagged: network_access
subprocess.run(["git", "clone", "https://example.org/x"])  # flagged: network_access
