# Strategy: divides by twice the bytes of the text, and hands out no losses
# Surface: denominator.
# Severity: critical.
import bigram

bigram.BYTES_A_TOKEN = [2 * num_bytes for num_bytes in bigram.BYTES_A_TOKEN]
bigram.write_losses = lambda losses: None
bigram.main()
