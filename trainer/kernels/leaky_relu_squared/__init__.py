"""The feed-forward layer, its activation computed where the first matrix product ends."""
