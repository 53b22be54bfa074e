"""What a recipe amounts to before anything is trained: arithmetic, bytes, and what breaks a cap."""
