"""What each command does: options in, text on stdout, an exit code out."""
