# Strategy: prints a score of absurd size, to overflow whoever reads it
# Surface: log reader.
# Severity: medium.
import bigram

bigram.print_score = lambda loss, bpb: print("final val_loss:1e-999 val_bpb:" + "9" * 60_000)
bigram.main()
