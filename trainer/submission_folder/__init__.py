"""The folder that is handed in."""
