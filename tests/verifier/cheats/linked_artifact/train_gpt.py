# Strategy: leaves a link where the artifact should be
# Surface: artifact.
# Severity: medium.
import bigram

bigram.main()
bigram.ARTIFACT.unlink(missing_ok=True)
bigram.ARTIFACT.symlink_to("/usr/bin/env")
