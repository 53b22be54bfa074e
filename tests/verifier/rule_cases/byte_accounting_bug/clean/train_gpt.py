import math

def build_tables(sp, size):
    table, has_space, is_boundary = [0] * size, [False] * size, [True] * size
    for i in range(size):
        if sp.is_control(i):
            continue
        is_boundary[i] = False
        if sp.is_byte(i):
            table[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith("\u2581"):
            has_space[i] = True
            piece = piece[1:]
        table[i] = len(piece.encode())
    return table, has_space, is_boundary


def count_bytes(table, has_space, is_boundary, previous, target):
    counted = table[target]
    counted += has_space[target] & ~is_boundary[previous]
    return counted


def bits_per_byte(loss, num_tokens, num_bytes):
    return loss / math.log(2) * (num_tokens / num_bytes)

val_bytes_files = "fineweb_val_bytes_*.bin"


def mean_bits(bits, num_tokens, bytes_per_token):
    bpb = bits / (num_tokens * bytes_per_token)
    est_bpb = bits / (num_tokens * 4.3)
    return bpb, est_bpb
