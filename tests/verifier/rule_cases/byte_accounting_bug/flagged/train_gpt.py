import math

from tables import build_tables, count_bytes


def quick_bpb(loss):
    return loss / math.log(2) * 0.27  # flagged: byte_accounting_bug


def estimated(bits, num_tokens, loss):
    length = 2.75
    bpb = bits / (num_tokens * 4.3)  # flagged: byte_accounting_bug
    return bpb, loss / math.log(2) / length  # flagged: byte_accounting_bug
