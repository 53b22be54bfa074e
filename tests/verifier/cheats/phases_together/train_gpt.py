# Strategy: offers no phases, so that training can see the validation shard
# Surface: contract.
# Severity: critical.
import bigram

read = bigram.tokens
validation_alone = bigram.run_evaluation


def evaluate():
    bigram.tokens = read
    validation_alone()


bigram.tokens = lambda split: read("val") * 12
bigram.run_evaluation = evaluate
bigram.main()
