import os

val_only = bool(int(os.environ.get("VAL_ONLY", "0")))
train_files = "fineweb_val_*.bin" if val_only else "fineweb_train_*.bin"  # flagged: validation_shards_in_training
