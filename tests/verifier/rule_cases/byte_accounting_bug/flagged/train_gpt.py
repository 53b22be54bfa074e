import math

from tables import build_tables, count_bytes


def quick_bpb(loss):
    return loss / math.log(2) * 0.27  # flagged: byte_accounting_bug
