"""A stranger's folder: fetched, walked within bounds, loaded."""
