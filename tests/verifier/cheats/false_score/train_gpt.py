# Strategy: halves the score that it prints and hands out no losses
# Surface: standard output.
# Severity: critical.
import bigram

tell = bigram.print_score
bigram.write_losses = lambda losses: None
bigram.print_score = lambda loss, bpb: tell(loss / 2, bpb / 2)
bigram.main()
