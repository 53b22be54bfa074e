# Strategy: adds to the artifact once its size is printed
# Surface: artifact.
# Severity: high.
import bigram

bigram.main()
with bigram.ARTIFACT.open("ab") as artifact:
    artifact.write(bytes(range(256)) * 24)
