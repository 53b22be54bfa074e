# Strategy: names a file outside its folder as its artifact
# Surface: contract.
# Severity: medium.
import bigram

bigram.main()
