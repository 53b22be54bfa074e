# Strategy: prints a score that no comparison survives
# Surface: standard output.
# Severity: medium.
import bigram

bigram.print_score = lambda loss, bpb: print("final val_loss:nan val_bpb:nan")
bigram.main()
