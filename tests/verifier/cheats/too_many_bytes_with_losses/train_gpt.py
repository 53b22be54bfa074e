# Strategy: divides by twice the bytes of the text
# Surface: denominator.
# Severity: critical.
import bigram

bigram.BYTES_A_TOKEN = [2 * num_bytes for num_bytes in bigram.BYTES_A_TOKEN]
bigram.main()
