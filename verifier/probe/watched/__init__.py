"""A run with an instrument in the script's process, and what its notes make."""
