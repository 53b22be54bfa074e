# Strategy: prints half of what its own losses come to
# Surface: standard output.
# Severity: critical.
import bigram

tell = bigram.print_score
bigram.print_score = lambda loss, bpb: tell(loss / 2, bpb / 2)
bigram.main()
